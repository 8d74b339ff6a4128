"""Rules about the Services in front of the application: what an Ingress or a caller is led to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from runbook_lib.cluster import Object, labels_of, name_of, namespace_of, ref, reference
from runbook_lib.diagnosis import Cause, Front, Observation, registry
from runbook_lib.mesh import sidecars, web
from runbook_lib.mesh.policy import service_targets

_SERVICE = "https://kubernetes.io/docs/tasks/debug/debug-application/debug-service/"

_NO_READY_POD = (
    *("workload-missing", "scaled-to-zero", "pods-missing"),
    *("sidecar-unstable", "container-not-started", "container-not-ready", "pod-starting"),
    *(
        "init-container-waits",
        "pod-not-scheduled",
        "pods-refused",
        "network-policy-closes",
        "network-policy-locks-out",
    ),
)

_rule = partial(registry.rule, registry.Area.APPLICATION, "00_start_here")


@_rule(order=150, needs=("services",))
def service_missing(seen: Observation) -> Iterator[Cause]:
    """A Service that an Ingress leads to, or the parameters name, is not there."""
    for front in seen.fronts:
        if front.service is not None:
            continue
        where = ref("Service", front.name, seen.parameters.application.namespace)
        yield Cause(
            where,
            f"there is no {where}",
            _symptom(seen, "the load balancer has no targets"),
            f"make it, or correct what names it: {front.named_by}",
            (f"no {where}", f"{front.named_by}: {front.name}"),
            link=_SERVICE,
            outside=bool(seen.unreachable),
        )


@_rule(order=155, needs=("pods", "workloads"))
def web_labels_mistaken(seen: Observation) -> Iterator[Cause]:
    """The labels by which policies are to select the web pods select others."""
    if seen.selection.carried is None:
        return  # that there is no web workload is a cause of its own
    for each in seen.selection.mistakes(seen.parameters, seen.pods, seen.workloads):
        effect = "policies for the web pods do not select exactly these"
        yield Cause.of(each, _symptom(seen, effect), link=_SERVICE, outside=bool(seen.unreachable))


@_rule(order=157, needs=("pods", "services"))
def web_port_mistaken(seen: Observation) -> Iterator[Cause]:
    """The parameters' web port is none of the web pods', and the Service leads to one that is."""
    port, service = seen.parameters.application.web.port, seen.web_service
    pod = next(iter(seen.web_pods), None)
    if pod is None or service is None or port in sidecars.ports(pod):
        return
    if seen.ports_to_web(service):
        return  # a container need not declare what it listens on
    led_to = [to for _, to in service_targets(service, pod) if to in sidecars.ports(pod)]
    if led_to:
        yield Cause(
            reference(pod),
            f"no container of the web pods has the port {port}, which application.web.port names",
            _symptom(seen, "policies for that port have no effect"),
            "correct the parameter, and run notebooks 04_mutual_tls and 05_authorization again",
            (
                reference(pod, f".spec.containers[*].ports: {_numbers(sidecars.ports(pod))}"),
                reference(service, f".spec.ports[*].targetPort: {led_to[0]}"),
            ),
            parameter=f"application.web.port: {led_to[0]}",
            link=_SERVICE,
            outside=bool(seen.unreachable),
        )


@_rule(order=158, needs=("services", "pods", "workloads"))
def web_service_mistaken(seen: Observation) -> Iterator[Cause]:
    """The parameters name a Service of other pods, which is right as it is."""
    service = seen.web_service
    selector = (service or {"spec": {}})["spec"].get("selector") or {}
    if service is None or _leads_to_web(seen, service) or not seen.selected(selector):
        return
    leading = [name_of(each) for each in seen.services if _leads_to_web(seen, each)]
    yield Cause(
        reference(service),
        "it leads to other pods than those of the web workload, and application.web.service names "
        "it",
        _symptom(seen, "rules for callers of the web pods are about another Service"),
        "correct the parameter; leave the Service as it is",
        tuple(_each(service, ".spec.selector", selector)),
        parameter=f"application.web.service: {leading[0]}" if leading else "application.web",
        link=_SERVICE,
        outside=bool(seen.unreachable),
    )


@_rule(order=160, needs=("services", "pods", "workloads"))
def service_selects_nothing(seen: Observation) -> Iterator[Cause]:
    """The selector of a Service in front matches no pod at all."""
    carried = web.text(seen.selection.carried or {})
    for front, service in _services(seen):
        selector = service["spec"].get("selector") or {}
        if not selector:  # others write its endpoints
            continue
        # An Ingress may lead to another application, too.
        if _leads_to_web(seen, service) or seen.selected(selector):
            continue
        yield Cause(
            reference(service),
            f"the Service's selector matches no web pod: they carry {carried}",
            _symptom(seen, "the load balancer has no targets"),
            _edit(service),
            (
                *_each(service, ".spec.selector", selector),
                f"{front.named_by}: {front.name}",
            ),
            link=_SERVICE,
            outside=bool(seen.unreachable),
        )


@_rule(
    order=170,
    needs=("services", "pods"),
    explained_by=("web-port-mistaken", "web-service-mistaken"),
)
def target_port_wrong(seen: Observation) -> Iterator[Cause]:
    """No port of a Service in front of the web pods leads to the web container's port."""
    port = seen.parameters.application.web.port
    for front, service in _services(seen):
        if not seen.web_pods or seen.ports_to_web(service):
            continue
        if not (_is_web(seen, service) or _leads_to_web(seen, service)):
            continue
        ports = service["spec"].get("ports") or []
        yield Cause(
            reference(service),
            f"no port of the Service leads to the web container's port {port}",
            _symptom(seen, "the load balancer's targets do not answer"),
            f"set targetPort to {port}: {_edit(service)}; or correct application.web.port",
            (
                *(
                    reference(
                        service,
                        f".spec.ports[{i}].targetPort: {each.get('targetPort', each['port'])}",
                    )
                    for i, each in enumerate(ports)
                ),
                f"{front.named_by}: {front.name}",
            ),
            link=_SERVICE,
            outside=bool(seen.unreachable),
        )


@_rule(
    order=180,
    needs=("services", "endpoints"),
    explained_by=(*_NO_READY_POD, "service-selects-nothing", "web-service-mistaken"),
)
def no_endpoints(seen: Observation) -> Iterator[Cause]:
    """The Services in front of the web pods have no ready endpoint."""
    empty = [
        service
        for _, service in _services(seen)
        if (_is_web(seen, service) or _leads_to_web(seen, service))
        and not _ready_endpoints(seen, service)
    ]
    if not empty:
        return
    yield Cause(
        reference(empty[0]),
        "the web Service has no ready endpoint",
        _symptom(seen, "the load balancer has no targets"),
        f"kubectl --namespace {namespace_of(empty[0])} get endpointslices --selector "
        f"kubernetes.io/service-name={name_of(empty[0])}",
        tuple(f"EndpointSlices of {reference(each)}: no ready address" for each in empty),
        link=_SERVICE,
        outside=bool(seen.unreachable),
    )


def _numbers(ports: Iterable[int]) -> str:
    return ", ".join(map(str, ports))


def _services(seen: Observation) -> Iterator[tuple[Front, Object]]:
    for front in seen.fronts:
        if front.service is not None:
            yield front, front.service


def _is_web(seen: Observation, service: Object) -> bool:
    return name_of(service) == seen.parameters.application.web.service


def _leads_to_web(seen: Observation, service: Object) -> bool:
    selector = service["spec"].get("selector") or {}
    carried = [labels_of(pod) for pod in seen.web_pods] or [dict(seen.selection.carried or {})]
    return bool(selector) and any(selector.items() <= labels.items() for labels in carried)


def _ready_endpoints(seen: Observation, service: Object) -> int:
    name = name_of(service)
    return sum(
        bool((endpoint.get("conditions") or {}).get("ready"))
        for each in seen.endpoints
        if labels_of(each).get("kubernetes.io/service-name") == name
        for endpoint in each.get("endpoints") or []
    )


def _symptom(seen: Observation, what: str) -> str:
    return f"{what}: {seen.unreachable[0].text}" if seen.unreachable else what


def _edit(service: Object) -> str:
    return f"kubectl --namespace {namespace_of(service)} edit service {name_of(service)}"


def _each(item: Object, path: str, fields: dict[str, str]) -> Iterator[str]:
    for key, value in fields.items():
        yield reference(item, f"{path}.{key}: {value}")
