"""Services that declare HTTP on a port that speaks something else: a sidecar would break it."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.cluster import Object, name_of, namespace_of, reference
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import templates
from runbook_lib.mesh.policy import Protocol, declared, serves, spec_of, target

_SPOKEN = {
    104: "DICOM",
    3306: "MySQL's protocol",
    5432: "PostgreSQL's protocol",
    6379: "Redis's protocol",
    11112: "DICOM",
    27017: "MongoDB's protocol",
}
"""Ports that are known for a protocol that is not HTTP."""


def not_spoken(context: Context) -> Iterator[Finding]:
    """Find Services whose ports are declared as HTTP, and lead to what speaks something else.

    Both ends mind it: the caller's sidecar, and the one of the pod that is called.
    """
    application = context.parameters.application
    spoken = {**_SPOKEN, **({application.dicom.port: "DICOM"} if application.dicom else {})}
    made = [each.pod for each in templates.meshed(context)]
    for service in context.cluster.list("v1", "Service", application.namespace):
        for at, port in enumerate(spec_of(service).get("ports") or []):
            protocol, key = declared(port)
            if protocol is not Protocol.HTTP:
                continue
            leading = {target(port, pod) for pod in made if serves(service, pod)}
            known = [
                n for n in (*leading, port["port"]) if n in spoken and n != application.web.port
            ]
            if known:
                yield _finding(
                    service, f".spec.ports[{at}].{key}: {port[key]}", port, spoken[known[0]]
                )


def _finding(service: Object, field: str, port: Object, speaks: str) -> Finding:
    return Finding(
        reference(service),
        f"its port {port['port']} is declared as HTTP, and speaks {speaks}",
        "sidecars would read it as HTTP and close every connection",
        "declare it as TCP: begin the port's name with tcp-, or set its appProtocol to tcp: "
        f"kubectl --namespace {namespace_of(service)} edit service {name_of(service)}",
        (reference(service, field),),
    )
