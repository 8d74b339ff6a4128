"""Callers without a sidecar: whom the policies would cut off, found before anything is changed.

Mutual TLS closes every port of the web pods that has no exception, and an AuthorizationPolicy about
methods closes what is not HTTP as well. A mesh-wide policy reaches other teams' pods, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runbook_lib.base import KindNotInstalled
from runbook_lib.cluster import (
    APPS,
    NETWORKING,
    PROXY,
    Object,
    has_sidecar,
    labels_of,
    name_of,
    namespace_of,
    reference,
)
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import has_ended, is_web, sidecars, traffic, web_pods
from runbook_lib.mesh.policy import STRICT, service_targets, why_not_inbound

_Way = tuple[str, int | str, str]
"""A Service by name, its port by number or name, and the object that leads there."""

_OUTSIDE_TYPES = ("LoadBalancer", "NodePort")


@dataclass(frozen=True)
class _Door:
    """A port of a Service that leads to a container port of pods.

    Attributes:
        service: The Service, by name.
        outside: How callers outside of the cluster reach it; empty if they do not.
        port: The container's port.
    """

    service: str
    outside: str
    port: int


def cut_off(context: Context) -> Iterator[Finding]:
    """Find a load balancer, a node's port or an Ingress that leads to a port about to be closed.

    Such ports are those of the web pods that the parameters do not name.
    """
    application = context.parameters.application
    outside = [door for door in _closed(context) if door.outside]
    if outside:
        ports = sorted({*application.plaintext_ports, *(door.port for door in outside)})
        leads = "; ".join(
            f"{door.service} ({door.outside}) leads to port {door.port}" for door in outside
        )
        yield Finding(
            "web pods",
            f"{leads}, which is neither application.web.port nor among application.plaintext_ports",
            "callers outside of the mesh would be cut off",
            "if that way in is not used, close it first: make the Service a ClusterIP, or remove "
            "it from the Ingress",
            parameter=f"application.plaintext_ports: {ports}",
        )


def note_on_ports(context: Context, consequence: str) -> str:
    """Say which ports will be closed to callers in the cluster.

    Args:
        context: Where to look.
        consequence: Who is closed out.

    Returns:
        A note for a plan; empty if no other port is behind a Service.
    """
    closed = _closed(context)
    ports = sorted({door.port for door in closed})
    return " ".join(
        f"Port {port} of the web pods is reached through "
        f"{', '.join(dict.fromkeys(door.service for door in closed if door.port == port))}, from "
        f"the cluster alone: {consequence}."
        for port in ports
    )


def _closed(context: Context) -> list[_Door]:
    """Return the ways in to ports of the web pods that the parameters do not name."""
    application = context.parameters.application
    known = (application.web.port, *application.plaintext_ports)
    return [door for door in _doors(context, list(_web_pods(context))) if door.port not in known]


def namespaces_of_others(context: Context) -> list[str]:
    """Return the other namespaces where the mesh-wide policy decides about pods with sidecars."""
    found = {namespace_of(pod) for pod in _under_mesh_wide(context)}
    return sorted(found - {context.parameters.application.namespace})


def doors_of_others(context: Context) -> list[str]:
    """Return the ways in from outside to pods of the application's namespace but the web pods.

    Only to those about which the mesh-wide policy decides: no exception is made for them.
    """
    application = context.parameters.application
    pods = [
        pod
        for pod in _under_mesh_wide(context, application.namespace)
        if not is_web(context.parameters, pod)
    ]
    found = (f"{d.service} ({d.outside})" for d in _doors(context, pods) if d.outside)
    return list(dict.fromkeys(found))


def open_past_sidecars(context: Context, planned: Sequence[Object]) -> list[str]:
    """Say which declared ports STRICT will leave open, as connections go past the sidecars.

    Args:
        context: Where to look.
        planned: The PeerAuthentications that will be in force.
    """
    found: dict[str, list[str]] = {}
    for pod in context.cluster.list("v1", "Pod", context.parameters.application.namespace):
        if has_ended(pod) or not has_sidecar(pod):
            continue
        for port in sidecars.ports(pod):
            past = why_not_inbound(pod, port)
            judged = traffic.Policies(tuple(planned), web_labels=_labels(pod))
            if past and traffic.mode_on_port(judged, namespace_of(pod), port) == STRICT:
                found.setdefault(past.text, []).append(str(port))
    return [f"{', '.join(ports)} ({text})" for text, ports in found.items()]


def _under_mesh_wide(context: Context, namespace: str | None = None) -> Iterator[Object]:
    """Yield the pods with sidecars about which the mesh-wide policy decides.

    Left out are those whose own policies decide in its place, and gateways, which have no
    application beside them.
    """
    strict, permissive = (_mesh_wide(context, mode) for mode in ("STRICT", "PERMISSIVE"))
    try:
        policies = context.cluster.list(traffic.SECURITY_API, "PeerAuthentication")
    except KindNotInstalled:
        policies = []
    for pod in context.cluster.list("v1", "Pod", namespace):
        alone = all(container["name"] == PROXY for container in pod["spec"]["containers"])
        if has_ended(pod) or not has_sidecar(pod) or alone:
            continue
        own = [p for p in policies if namespace_of(p) == namespace_of(pod)]
        if _modes(pod, [strict, *own]) != _modes(pod, [permissive, *own]):
            yield pod


def _mesh_wide(context: Context, mode: str) -> Object:
    """Return a policy for the whole mesh, as far as it matters for what a port does."""
    parameters = context.parameters
    metadata = {"name": parameters.mutual_tls.policy, "namespace": parameters.istio.namespace}
    return {"kind": "PeerAuthentication", "metadata": metadata, "spec": {"mtls": {"mode": mode}}}


def _modes(pod: Object, policies: Sequence[Object]) -> tuple[str, ...]:
    """Return the mode on each port of a pod, and on a port that it does not declare."""
    judged = traffic.Policies(tuple(policies), web_labels=_labels(pod))
    return tuple(
        traffic.mode_on_port(judged, namespace_of(pod), port)
        for port in (*sidecars.ports(pod), 0)
        if why_not_inbound(pod, port) is None
    )


def _doors(context: Context, pods: Sequence[Object]) -> Iterator[_Door]:
    """Yield the ways through Services of the application's namespace to these pods of it."""
    namespace = context.parameters.application.namespace
    ways = list(_ways_in(context, namespace))
    for service in context.cluster.list("v1", "Service", namespace):
        selector = service["spec"].get("selector")
        if not selector:
            continue
        selected = [pod for pod in pods if selector.items() <= _labels(pod).items()]
        for port in service["spec"].get("ports") or []:
            if port.get("protocol", "TCP") != "TCP":
                continue  # sidecars leave everything else alone
            alone = {**service, "spec": {**service["spec"], "ports": [port]}}
            targets = {target for pod in selected for _, target in service_targets(alone, pod)}
            outside = ", ".join(_outside(service, port, ways))
            for target in sorted(targets):
                yield _Door(reference(service), outside, target)


def _web_pods(context: Context) -> Iterator[Object]:
    """Yield the web pods there are, and the one that their workload would make."""
    application = context.parameters.application
    web, namespace = application.web, application.namespace
    yield from web_pods(context.cluster, context.parameters)
    workload = context.cluster.get(APPS, web.kind, web.name, namespace)
    if workload is not None:
        template = workload["spec"]["template"]
        yield {"metadata": template.get("metadata") or {}, "spec": template["spec"]}


def _outside(service: Object, port: Object, ways: Sequence[_Way]) -> Iterator[str]:
    """Yield how callers outside of the cluster reach a port of a Service."""
    spec = service["spec"]
    if spec.get("type") in _OUTSIDE_TYPES:
        yield spec["type"]
    if spec.get("externalIPs"):
        yield "externalIPs"
    for name, desired, what in ways:
        if name == name_of(service) and desired in (port["port"], port.get("name")):
            yield what


def _ways_in(context: Context, namespace: str) -> Iterator[_Way]:
    """Yield what else leads to Services from outside of the cluster."""
    for ingress in context.cluster.list(NETWORKING, "Ingress", namespace):
        spec = ingress["spec"]
        paths = [
            path
            for rule in spec.get("rules") or []
            for path in (rule.get("http") or {}).get("paths") or []
        ]
        for backend in (spec.get("defaultBackend") or {}, *(path["backend"] for path in paths)):
            if "service" in backend:
                port = backend["service"].get("port") or {}
                desired = port.get("number") or port.get("name", "")
                yield backend["service"]["name"], desired, reference(ingress)
    try:
        # What the AWS Load Balancer Controller makes, also of annotations, or its users by hand.
        bindings = context.cluster.list("elbv2.k8s.aws/v1beta1", "TargetGroupBinding", namespace)
    except KindNotInstalled:
        return
    for binding in bindings:
        to = binding["spec"]["serviceRef"]
        yield to["name"], to["port"], reference(binding)


def _labels(pod: Object) -> dict[str, str]:
    labels: dict[str, str] = labels_of(pod)
    return labels
