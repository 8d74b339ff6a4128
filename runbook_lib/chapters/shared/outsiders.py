"""Callers without a sidecar: whom the policies would cut off, found before anything is changed.

Mutual TLS closes every port of the web pods that has no exception, and an AuthorizationPolicy about
methods closes what is not HTTP as well. A mesh-wide policy reaches other teams' pods, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runbook_lib.base import KindNotInstalled
from runbook_lib.chapters.shared import doors
from runbook_lib.chapters.shared.doors import Door
from runbook_lib.cluster import PROXY, Object, has_sidecar, labels_of, namespace_of
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import has_ended, is_web, sidecars, templates, traffic, web_pods
from runbook_lib.mesh.policy import STRICT, why_not_inbound

_UNNAMED = "which is neither application.web.port nor among application.plaintext_ports"
_UNHEALTHY = "every target becomes unhealthy, and the load balancer answers 503"


def cut_off(context: Context) -> Iterator[Finding]:
    """Find ways in from outside, and health checks, that lead to a port about to be closed.

    Such ports are those of the web pods that the parameters do not name.
    """
    outside = [door for door in _closed(context) if door.outside]
    if outside:
        leads = "; ".join(
            f"{door.by} ({door.outside}) leads to port {door.port}" for door in outside
        )
        yield Finding(
            "web pods",
            f"{leads}, {_UNNAMED}",
            "callers outside of the mesh would be cut off",
            "if that way in is not used, close it first: make the Service a ClusterIP, or remove "
            "what leads there",
            _fields(outside),
            parameter=_opened(context, outside),
        )
    pods = list(_web_pods(context))
    checks = [door for door in doors.health_checks(context, pods) if _is_closed(context, door)]
    if checks:
        ports = ", ".join(dict.fromkeys(str(door.port) for door in checks))
        yield Finding(
            "web pods",
            f"the load balancer sends its health checks to port {ports}, {_UNNAMED}",
            f"the checks come from outside of the mesh and would be refused: {_UNHEALTHY}",
            "let them ask the port that requests go to: set the annotation to traffic-port",
            _fields(checks),
            parameter=_opened(context, checks),
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
        f"{', '.join(dict.fromkeys(door.by for door in closed if door.port == port))}, from "
        f"the cluster alone: {consequence}."
        for port in ports
    )


def _closed(context: Context) -> list[Door]:
    """Return the ways in to ports of the web pods that the parameters do not name."""
    made = templates.web(context)
    found = [
        *doors.through_services(context, list(_web_pods(context))),
        *(doors.host_ports(made) if made is not None else ()),
    ]
    return [door for door in found if _is_closed(context, door)]


def _is_closed(context: Context, door: Door) -> bool:
    application = context.parameters.application
    return door.port not in (application.web.port, *application.plaintext_ports)


def _opened(context: Context, found: Sequence[Door]) -> str:
    """Return the parameter that would leave ports open, with those that are open already."""
    known = context.parameters.application.plaintext_ports
    return f"application.plaintext_ports: {sorted({*known, *(door.port for door in found)})}"


def _fields(found: Sequence[Door]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(field for door in found for field in door.fields))


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
    ways = (
        *doors.through_services(context, pods),
        *(door for pod in pods for door in doors.host_ports(templates.Template(pod, pod))),
    )
    found = (f"{door.by} ({door.outside})" for door in ways if door.outside)
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
            judged = traffic.Policies(tuple(planned), web_labels=labels_of(pod))
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
    judged = traffic.Policies(tuple(policies), web_labels=labels_of(pod))
    return tuple(
        traffic.mode_on_port(judged, namespace_of(pod), port)
        for port in (*sidecars.ports(pod), 0)
        if why_not_inbound(pod, port) is None
    )


def _web_pods(context: Context) -> Iterator[Object]:
    """Yield the web pods there are, and the one that their workload would make."""
    yield from web_pods(context.cluster, context.parameters)
    if (made := templates.web(context)) is not None:
        yield made.pod
