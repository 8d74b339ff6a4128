"""Look at the cluster and ask the site, for a map of the mesh. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from runbook_lib.base import KindNotInstalled
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
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import links as mesh_links
from runbook_lib.mesh import traffic
from runbook_lib.mesh.links import End
from runbook_lib.mesh.map import Link, MeshMap, NamespaceView, PodView, Role, Sidecar, WorkloadView
from runbook_lib.mesh.policy import (
    Caller,
    Protocol,
    Reason,
    allowed_methods,
    called,
    choose,
    cluster_ip,
    declared,
    is_dry_run,
    on_port,
    sent_to_port,
    serves,
    target,
    why_not_inbound,
    why_not_outbound,
)
from runbook_lib.mesh.rollout import has_ended
from runbook_lib.mesh.traffic import Policies
from runbook_lib.site import Expectation, Observed, Probe, probe

_NETWORKING_API = "networking.istio.io/v1"

_RUNTIME_LABEL = "lab.istio-runbook/runtime"
"""The lab says here which of its pods are processes, and which are simulated."""


def survey(context: Context) -> MeshMap:
    """Return the map of the mesh as it is now.

    Sends each of the application's probes once, from outside and over a connection of its own.
    """
    parameters, cluster = context.parameters, context.cluster
    names = (parameters.application.namespace, parameters.istio.namespace)
    found = {
        name: [p for p in cluster.list("v1", "Pod", name) if not has_ended(p)] for name in names
    }
    policies = traffic.policies_in_force(cluster, parameters)
    application, istio = (_namespace(context, name, found[name], policies) for name in names)
    links = _Links(
        context,
        application,
        found[names[0]],
        policies,
        cluster.list("v1", "Service", names[0]),
        _destination_rules(context, names),
    )
    return MeshMap(
        target=context.target.name,
        url=context.target.url,
        seen_at=datetime.now(UTC),
        application=application,
        istio=istio,
        links=(*links.all(_ask(context)), *_configuration(application, istio)),
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


def service_port(service: Object, pod: Object) -> tuple[int | None, bool]:
    """Return the container's port behind a Service's first port, and whether it is HTTP."""
    port = service["spec"]["ports"][0]
    return target(port, pod), declared(port)[0] is Protocol.HTTP


@dataclass(frozen=True)
class _Links:
    context: Context
    application: NamespaceView
    pods: Sequence[Object]
    policies: Policies
    services: Sequence[Object]
    rules: Sequence[Object]

    def all(self, answers: Sequence[Observed]) -> Iterator[Link]:
        """Yield the application's links; the web workload comes first."""
        desired = self.context.parameters.application.web
        web = replace(
            self._end(desired.name),
            port=desired.port,
            mode=traffic.port_mode(self.context.parameters, self.policies),
            past=self.policies.web_past,
        )
        yield mesh_links.from_edge(web, answers)
        servers = list(self._dependencies())
        for server, service in servers:
            yield mesh_links.between(web, server, *self._calls(service))
        yield mesh_links.from_outsider(web, web=True)
        for server, _ in servers:
            yield mesh_links.from_outsider(server, web=False)

    def _dependencies(self) -> Iterator[tuple[End, Object]]:
        """Yield what the web workload needs: it is restarted before, and has a Service."""
        for workload in self.application.workloads:
            if workload.role is not Role.DEPENDENCY:
                continue
            pod = self._first_pod(workload.name)
            if pod is None:
                continue
            service = next((s for s in self.services if serves(s, pod)), None)
            if service is None:
                continue
            number, _ = service_port(service, pod)
            port = number or 0
            protocol = on_port(self.services, pod, port).protocol
            end = replace(
                self._end(workload.name),
                port=number,
                http=protocol is Protocol.HTTP,
                past=why_not_inbound(pod, port),
            )
            yield (
                replace(end, mode=traffic.mode_on_port(end.policies, self.application.name, port)),
                service,
            )

    def _calls(self, service: Object) -> tuple[str, Reason | None]:
        """Return what the web workload sends to a Service, and why that goes past its sidecars."""
        parameters = self.context.parameters
        pod = self._first_pod(parameters.application.web.name)
        number = service["spec"]["ports"][0]["port"]
        labels = labels_of(pod) if pod else self.policies.web_labels
        caller = Caller(self.application.name, labels, parameters.istio.namespace)
        rule = choose(self.rules, called(service), caller).rule
        past = why_not_outbound(pod, number, cluster_ip(service)) if pod else None
        return sent_to_port(rule, number).mode, past

    def _end(self, name: str) -> End:
        pod = self._first_pod(name)
        views = next((w.pods for w in self.application.workloads if w.name == name), ())
        has = {view.sidecar is not Sidecar.NONE for view in views}
        return End(
            name,
            sidecars=has.pop() if len(has) == 1 else None,
            pods=len(views),
            mode_for_all=traffic.mode_for_all(self.policies, self.application.name),
            policies=replace(
                self.policies,
                web_labels=labels_of(pod) if pod else self.policies.web_labels,
            ),
        )

    def _first_pod(self, workload: str) -> Object | None:
        return next((pod for pod in self.pods if pods.workload_of(pod)[1] == workload), None)


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
        order = [
            (kind, name) for kind, _, name in (w.partition("/") for w in application.restart_order)
        ]
        before = order[: order.index(web)] if web in order else order
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
            methods = ", ".join(sorted(allowed_methods(policy)))
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


def _destination_rules(context: Context, namespaces: Sequence[str]) -> list[Object]:
    try:
        return [
            rule
            for namespace in namespaces
            for rule in context.cluster.list(_NETWORKING_API, "DestinationRule", namespace)
        ]
    except KindNotInstalled:
        return []
