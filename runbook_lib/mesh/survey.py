"""Look at the cluster and ask the site, for a map of the mesh. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from runbook_lib.cluster import (
    INJECTION_LABEL,
    PROXY,
    REVISION_LABEL,
    Object,
    labels_of,
    name_of,
    namespace_of,
    pods,
)
from runbook_lib.lifecycle import CallAnswered, Context, PodsAsked
from runbook_lib.mesh import links as mesh_links
from runbook_lib.mesh import traffic
from runbook_lib.mesh.ends import Ends, needed
from runbook_lib.mesh.map import Link, MeshMap, NamespaceView, PodView, Role, Sidecar, WorkloadView
from runbook_lib.mesh.policy import allowed_methods, allowed_to_some, is_dry_run
from runbook_lib.mesh.rollout import has_ended
from runbook_lib.mesh.traffic import Policies
from runbook_lib.site import Expectation, Observed, Probe, probe

_RUNTIME_LABEL = "lab.istio-runbook/runtime"
"""The lab says here which of its pods are processes, and which are simulated."""


def survey(context: Context, asked: Sequence[PodsAsked] = ()) -> MeshMap:
    """Return the map of the mesh as it is now.

    Sends each of the application's probes once, from outside and over a connection of its own.

    Args:
        context: Where to look.
        asked: What pods were answered by pods in this run; it counts if nothing has changed since.
    """
    context = context.at_one_moment()
    parameters, cluster = context.parameters, context.cluster
    names = (parameters.application.namespace, parameters.istio.namespace)
    found = {
        name: [p for p in cluster.list("v1", "Pod", name) if not has_ended(p)] for name in names
    }
    policies = traffic.policies_in_force(cluster, parameters)
    application, istio = (_namespace(context, name, found[name], policies) for name in names)
    ends = Ends.look(context, policies, found[names[0]])
    state = ends.state
    valid = [answer for each in asked if each.state == state for answer in each.answers]
    return MeshMap(
        target=context.target.name,
        url=context.target.url,
        seen_at=datetime.now(UTC),
        application=application,
        istio=istio,
        links=(*_links(ends, _ask(context), valid), *_configuration(application, istio)),
    )


def pod_view(pod: Object) -> PodView:
    """Return what a map shows of a pod."""
    proxy = next((c for c in pods.containers(pod) if c.name == PROXY), None)
    sidecar = Sidecar.NONE
    if proxy is not None:
        sidecar = Sidecar.READY if proxy.ready else Sidecar.NOT_READY
    problem = "" if pods.is_ready(pod) else pods.why_not_ready(pod)
    return PodView(
        name=name_of(pod),
        ready=pods.ready_count(pod),
        problem=problem,
        sidecar=sidecar,
        simulated=labels_of(pod).get(_RUNTIME_LABEL) == "simulated",
    )


def _links(
    ends: Ends, answers: Sequence[Observed], calls: Sequence[CallAnswered]
) -> Iterator[Link]:
    """Yield the application's links; the web workload comes first."""
    web = ends.web()
    yield mesh_links.from_edge(web, answers)
    servers = list(ends.dependencies())
    derived = [
        *(mesh_links.between(web, server, *ends.sent_by_web(s)) for server, s in servers),
        mesh_links.from_outsider(web, web=True),
        *(mesh_links.from_outsider(server, web=False) for server, _ in servers),
    ]
    yield from (mesh_links.as_asked(link, calls) for link in derived)


def _ask(context: Context) -> list[Observed]:
    parameters = context.parameters
    return [
        probe.send(
            context.target.url,
            Probe(desired.method, desired.path, Expectation(desired.status)),
            timeout=parameters.timeouts.probe,
            verify=context.verify_tls,
        )
        for desired in parameters.application.probes
    ]


def _namespace(
    context: Context, name: str, found: Sequence[Object], policies: Policies
) -> NamespaceView:
    live = context.cluster.get("v1", "Namespace", name)
    labels = labels_of(live or {})
    is_application = name == context.parameters.application.namespace
    injects = labels.get(INJECTION_LABEL) == "enabled" or (
        REVISION_LABEL in labels and INJECTION_LABEL not in labels
    )
    return NamespaceView(
        name,
        exists=live is not None,
        injects=injects if is_application else None,
        workloads=tuple(_workloads(context, found, is_application=is_application)),
        policies=tuple(_policy_lines(policies, name)),
    )


def _workloads(
    context: Context, found: Sequence[Object], *, is_application: bool
) -> Iterator[WorkloadView]:
    """Yield workloads: web, what it needs (there even without pods), the rest by name."""
    application = context.parameters.application
    groups: dict[tuple[str, str], list[Object]] = {}
    roles: dict[tuple[str, str], Role] = {}
    if is_application:
        web = (str(application.web.kind), application.web.name)
        names = needed(context.parameters)
        places = (*application.owners, *application.workloads)
        before = [place for place in places if place[1] in names]
        roles = {web: Role.WEB, **dict.fromkeys(before, Role.DEPENDENCY)}
        groups = {key: [] for key in roles}
    for pod in sorted(found, key=lambda pod: str(name_of(pod))):
        key = pods.workload_of(pod)
        groups.setdefault(key, []).append(pod)
        if labels_of(pod).get("app") == "istiod" and not is_application:
            roles[key] = Role.CONTROL_PLANE
    for key, members in groups.items():
        views = sorted(map(pod_view, members), key=lambda view: (not view.problem, view.name))
        yield WorkloadView(*key, roles.get(key, Role.OTHER), tuple(views))


def _policy_lines(policies: Policies, namespace: str) -> Iterator[str]:
    for policy in policies.peer_authentications:
        spec = policy.get("spec") or {}
        if namespace_of(policy) == namespace:
            mode = (spec.get("mtls") or {}).get("mode", "UNSET")
            ports = spec.get("portLevelMtls") or {}
            exceptions = [f"port {port} {value.get('mode')}" for port, value in ports.items()]
            settings = ", ".join([mode, *exceptions])
            yield f"PeerAuthentication {name_of(policy)}: {settings}"
    for policy in policies.authorization_policies:
        if namespace_of(policy) == namespace:
            action = (policy.get("spec") or {}).get("action", "ALLOW")
            methods = ", ".join([*sorted(allowed_methods(policy)), *allowed_to_some(policy)])
            dry = " (dry run)" if is_dry_run(policy) else ""
            line = f"AuthorizationPolicy {name_of(policy)}: {action} {methods}"
            yield f"{line.rstrip()}{dry}"


def _configuration(application: NamespaceView, istio: NamespaceView) -> Iterator[Link]:
    sidecars = [
        pod.sidecar
        for workload in application.workloads
        for pod in workload.pods
        if pod.sidecar is not Sidecar.NONE
    ]
    control_planes = [w for w in istio.workloads if w.role is Role.CONTROL_PLANE]
    if sidecars and control_planes:
        ready = sidecars.count(Sidecar.READY)
        yield mesh_links.configuration(
            control_planes[0].name, application.name, ready, len(sidecars)
        )
