"""The web Service's ports: policies for servers know the container's, rules for callers these."""

from __future__ import annotations

from itertools import chain

from runbook_lib.cluster import APPS, Object, ref
from runbook_lib.lifecycle import Context, Finding, Refused


def service_ports(context: Context) -> list[int]:
    """Return the web Service's ports that lead to container ports without mutual TLS.

    Policies for servers know the container's port, rules for callers the Service's.

    Raises:
        Refused: There is no such Service, or none of its ports leads to the web port.
    """
    application = context.parameters.application
    web = application.web
    where = ref("Service", web.service, application.namespace)
    service = context.cluster.get("v1", "Service", web.service, application.namespace)
    if service is None:
        raise Refused(
            Finding(
                where,
                "there is none",
                "callers in the mesh would not be told how to reach the web pods",
                "correct application.web.service",
            )
        )
    workload = context.cluster.get(APPS, web.kind, web.name, application.namespace)
    ports = service["spec"].get("ports") or []

    def leading_to(number: int) -> list[int]:
        desired = (number, *port_names(workload, number))
        return [p["port"] for p in ports if p.get("targetPort", p["port"]) in desired]

    found = leading_to(web.port)
    if not found:
        leads = ", ".join(f"{p['port']} → {p.get('targetPort', p['port'])}" for p in ports)
        raise Refused(
            Finding(
                where,
                f"no port of it leads to the container port {web.port}",
                "the policies would be about a port that it does not use",
                "set application.web.port to the container's port, not the Service's",
                (f"there are: {leads}",),
            )
        )
    others = map(leading_to, application.plaintext_ports)
    return [*found, *chain.from_iterable(others)]


def port_names(workload: Object | None, port: int) -> list[str]:
    """Return the names that a workload's containers give a port."""
    if workload is None:
        return []
    return [
        declared["name"]
        for container in workload["spec"]["template"]["spec"]["containers"]
        for declared in container.get("ports") or []
        if declared["containerPort"] == port and "name" in declared
    ]
