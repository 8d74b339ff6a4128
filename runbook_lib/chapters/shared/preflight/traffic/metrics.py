"""Metrics ports that STRICT closes to a Prometheus outside of the mesh."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from runbook_lib.base import KindNotInstalled
from runbook_lib.chapters.shared.preflight.traffic.strict import Closing
from runbook_lib.chapters.shared.preflight.wording import risk
from runbook_lib.cluster import (
    Object,
    annotations_of,
    labels_of,
    matches,
    namespace_of,
    reference,
)
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import of_revision, revisions
from runbook_lib.mesh.policy import serves, spec_of, target
from runbook_lib.mesh.templates import Template

_MONITORING = "monitoring.coreos.com/v1"
_SCRAPE, _PORT = "prometheus.io/scrape", "prometheus.io/port"
_MERGE = "prometheus.istio.io/merge-metrics"
_NAME = re.compile(r"(.+-)?metrics|prometheus(-.+)?|metrics-.+")

_Sign = tuple[int, str]
"""A container port, and the field of a live object by which its metrics are read."""


def metrics_ports(context: Context, closing: Closing) -> Iterator[Finding]:
    """Find ports that metrics are read from, and that a step closes to callers without a sidecar.

    Args:
        context: Where.
        closing: What the step closes.
    """
    application = context.parameters.application
    named = (application.web.port, *application.plaintext_ports)
    services = context.cluster.list("v1", "Service", application.namespace)
    monitors = {kind: _monitors(context, kind) for kind in ("PodMonitor", "ServiceMonitor")}
    merges = _mesh_merges(context)
    for made in closing.made:
        signs: dict[int, list[str]] = {}
        for port, sign in _signs(made, services, monitors, merges=merges):
            if closing.closes(made, port) and not (
                made.is_web(context.parameters) and port in named
            ):
                signs.setdefault(port, []).append(sign)
        for port, fields in signs.items():
            yield risk(context, "metrics-ports", _finding(context, made, port, fields))


def _finding(context: Context, made: Template, port: int, fields: list[str]) -> Finding:
    own = (
        "name it in application.plaintext_ports"
        if made.is_web(context.parameters)
        else f"let a PeerAuthentication of its own, which selects these pods, set portLevelMtls "
        f"{port} to PERMISSIVE"
    )
    return Finding(
        made.where,
        f"metrics are read from its port {port}",
        "a Prometheus outside of the mesh would get no answer there any more, and alerts would "
        "fall silent",
        f"move Prometheus into the mesh; or {own}",
        tuple(dict.fromkeys(fields)),
    )


def _signs(
    made: Template,
    services: Sequence[Object],
    monitors: dict[str, list[Object]],
    *,
    merges: bool,
) -> Iterator[_Sign]:
    """Yield what says that metrics are read from a port of a workload's pods."""
    merged = _merged(made) if merges else []
    for number in _annotated(made):
        if number not in merged:
            yield number, made.field(f".metadata.annotations.{_SCRAPE}", "true")
    for path, port in made.ports:
        number, name = port["containerPort"], port.get("name") or ""
        if _NAME.fullmatch(name) and number not in merged:
            yield number, made.field(f"{path}.name", name)
    for service in services:
        if not serves(service, made.pod):
            continue
        yield from _of_service(made, service, merged)
        for monitor in monitors["ServiceMonitor"]:
            if _reads(monitor, service):
                yield from _of_service_monitor(monitor, service, made)
    for monitor in monitors["PodMonitor"]:
        if _reads(monitor, made.pod):
            yield from _of_pod_monitor(monitor, made)


def _annotated(made: Template) -> list[int]:
    """Return the ports from which the pods' own annotations have metrics read."""
    said = annotations_of(made.pod)
    if said.get(_SCRAPE) != "true":
        return []
    port = said.get(_PORT, "")
    if port.isdigit():
        return [int(port)]
    return [port["containerPort"] for _, port in made.ports]


def _merged(made: Template) -> list[int]:
    """Return the ports whose metrics sidecars read themselves, and answer for on their port 15020.

    See https://istio.io/latest/docs/ops/integrations/prometheus/#option-1-metrics-merging.
    """
    return [] if annotations_of(made.pod).get(_MERGE) == "false" else _annotated(made)


def _mesh_merges(context: Context) -> bool:
    """Whether sidecars read the metrics of their pods: istiod's configuration may say no."""
    istio = context.parameters.istio
    name = of_revision(revisions.of_cluster(context.cluster, context.parameters), "istio")
    live = context.cluster.get("v1", "ConfigMap", name, istio.namespace)
    if live is None:  # not installed yet
        mesh = istio.istiod.values.get("meshConfig")
    else:
        mesh = yaml.safe_load((live.get("data") or {}).get("mesh") or "")
    return not isinstance(mesh, dict) or mesh.get("enablePrometheusMerge") is not False


def _of_service(made: Template, service: Object, merged: Sequence[int]) -> Iterator[_Sign]:
    said = annotations_of(service)
    marked = said.get(_SCRAPE) == "true"
    given = said.get(_PORT, "")
    if marked and given.isdigit():
        yield int(given), reference(service, f".metadata.annotations.{_PORT}: {given}")
    for at, port in enumerate(spec_of(service).get("ports") or []):
        number, name = target(port, made.pod), port.get("name") or ""
        if number is None or port.get("protocol", "TCP") != "TCP":
            continue
        if marked and not given:
            yield number, reference(service, f".metadata.annotations.{_SCRAPE}: true")
        if _NAME.fullmatch(name) and number not in merged:
            yield number, reference(service, f".spec.ports[{at}].name: {name}")


def _monitors(context: Context, kind: str) -> list[Object]:
    try:
        return context.cluster.list(_MONITORING, kind)
    except KindNotInstalled:
        return []


def _reads(monitor: Object, item: Object) -> bool:
    """Whether a monitor selects an object: in its own namespace, unless it names others."""
    spec = spec_of(monitor)
    places: dict[str, Any] = spec.get("namespaceSelector") or {}
    named = places.get("matchNames") or [namespace_of(monitor)]
    there = bool(places.get("any")) or namespace_of(item) in named
    return there and matches(spec.get("selector") or {}, labels_of(item))


def _of_service_monitor(monitor: Object, service: Object, made: Template) -> Iterator[_Sign]:
    for at, endpoint in enumerate(spec_of(monitor).get("endpoints") or []):
        path = f".spec.endpoints[{at}]"
        for port in spec_of(service).get("ports") or []:
            number = target(port, made.pod)
            if number is not None and endpoint.get("port") == (port.get("name") or ""):
                yield number, reference(monitor, f"{path}.port: {endpoint['port']}")
        if "targetPort" in endpoint:
            yield from _by(monitor, f"{path}.targetPort", endpoint["targetPort"], made)


def _of_pod_monitor(monitor: Object, made: Template) -> Iterator[_Sign]:
    for at, endpoint in enumerate(spec_of(monitor).get("podMetricsEndpoints") or []):
        for key in ("port", "portNumber", "targetPort"):
            if key in endpoint:
                path = f".spec.podMetricsEndpoints[{at}].{key}"
                yield from _by(monitor, path, endpoint[key], made)


def _by(monitor: Object, path: str, said: int | str, made: Template) -> Iterator[_Sign]:
    """Yield the container port that a monitor names, by number or name."""
    for _, port in made.ports:
        if said in (port["containerPort"], port.get("name") or ""):
            yield port["containerPort"], reference(monitor, f"{path}: {said}")
