"""Rules about mutual TLS: why plaintext from the load balancer is refused, and callers' rules.

`istioctl analyze` has no analyzer for any of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from runbook_lib.cluster import Object, has_sidecar, labels_of, name_of, namespace_of
from runbook_lib.diagnosis import Finding, Kind, Observation, named, registry
from runbook_lib.diagnosis.rules.membership import NOT_INJECTED
from runbook_lib.mesh import applies_to, service_targets, traffic

_EXCEPTION = "https://istio.io/latest/docs/reference/config/security/peer_authentication/"
_MIGRATION = "https://istio.io/latest/docs/tasks/security/authentication/mtls-migration/"
_TLS = (
    "https://istio.io/latest/docs/ops/configuration/traffic-management/tls-configuration/#sidecars"
)


def locked_out(seen: Observation) -> bool:
    """Whether the load balancer, which speaks plaintext, meets STRICT on the web port."""
    return any(map(has_sidecar, seen.web_pods)) and (
        traffic.port_mode(seen.parameters, seen.policies) == "STRICT"
    )


_rule = partial(registry.rule, registry.Area.MUTUAL_TLS, "04_mutual_tls")

_EXCEPTION_NEEDS = ("pods", "workloads", "services", "policies", "elsewhere")
_SERVER_WRONG = (
    *(*NOT_INJECTED, "pod-without-sidecar", "target-port-wrong"),
    *("exception-service-port", "exception-other-port", "exception-selects-nothing"),
    *("exception-without-selector", "exception-elsewhere", "exception-shadowed"),
    *("exception-is-strict", "exception-missing"),
)
"""What changes how a server is called; mended, a rule for its callers may fit again."""


@_rule(order=190, needs=_EXCEPTION_NEEDS)
def exception_service_port(seen: Observation) -> Iterator[Finding]:
    """The exception names the Service's port; servers know the container's only."""
    wrong = _service_ports(seen)
    for policy in _exceptions_past_web(seen):
        for port in _mistaken(seen, policy):
            if port in wrong:
                yield _refused(
                    seen,
                    (
                        named(policy, f".spec.portLevelMtls.{port}"),
                        f"{named(seen.web_service or {})} .spec.ports: {port} → {_web_port(seen)}",
                    ),
                    f"the exception names the Service's port {port}; a PeerAuthentication knows "
                    f"the container's, {_web_port(seen)}",
                )


@_rule(order=200, needs=_EXCEPTION_NEEDS)
def exception_other_port(seen: Observation) -> Iterator[Finding]:
    """The exception names a port that the web container does not have."""
    wrong = _service_ports(seen)
    for policy in _exceptions_past_web(seen):
        for port in _mistaken(seen, policy):
            if port not in wrong:
                yield _refused(
                    seen,
                    (named(policy, f".spec.portLevelMtls.{port}"),),
                    f"the exception is for port {port}; the web container's is {_web_port(seen)}",
                )


@_rule(order=210, needs=_EXCEPTION_NEEDS)
def exception_selects_nothing(seen: Observation) -> Iterator[Finding]:
    """The exception's selector matches no pod."""
    for policy in _exceptions(seen):
        selector = traffic.selector(policy)
        if selector and not seen.selected(selector) and _is_here(seen, policy):
            yield _refused(
                seen,
                tuple(
                    named(policy, f".spec.selector.matchLabels.{key}: {value}")
                    for key, value in selector.items()
                ),
                "the exception's selector matches no pod: the web pods carry "
                + _text(seen.parameters.application.web.labels),
            )


@_rule(order=220, needs=_EXCEPTION_NEEDS)
def exception_without_selector(seen: Observation) -> Iterator[Finding]:
    """Ports have no effect without a selector; today's API server refuses such an object."""
    for policy in _exceptions(seen):
        if not traffic.selector(policy) and _is_here(seen, policy):
            yield _refused(
                seen,
                (named(policy, ".spec.selector: missing"),),
                "an exception for a port needs a selector: without one portLevelMtls is ignored",
            )


@_rule(order=230, needs=_EXCEPTION_NEEDS)
def exception_elsewhere(seen: Observation) -> Iterator[Finding]:
    """The exception is in a namespace where it cannot select the web pods."""
    for policy in _exceptions(seen):
        if not _is_here(seen, policy):
            yield _refused(
                seen,
                (named(policy, f".metadata.namespace: {policy['metadata']['namespace']}"),),
                "the exception selects pods of its own namespace only; the web pods are in "
                + seen.parameters.application.namespace,
            )


@_rule(order=240, needs=_EXCEPTION_NEEDS)
def exception_shadowed(seen: Observation) -> Iterator[Finding]:
    """An older policy for the same pods decides alone."""
    winner = traffic.deciding(seen.policies, seen.parameters.application.namespace).get("workload")
    for policy in _exceptions_for_web(seen):
        opens = _ports(policy).get(str(_web_port(seen)))
        if opens in ("DISABLE", "PERMISSIVE") and winner is not None and policy != winner:
            yield _refused(
                seen,
                tuple(
                    named(p, f".metadata.creationTimestamp: {p['metadata']['creationTimestamp']}")
                    for p in (winner, policy)
                ),
                "two PeerAuthentications select the web pods: the oldest decides alone, and it is "
                f"not the exception but {winner['metadata']['name']}",
                f"delete it, or move its settings into the exception: kubectl --namespace "
                f"{winner['metadata']['namespace']} delete peerauthentication "
                f"{winner['metadata']['name']}",
            )


@_rule(order=250, needs=_EXCEPTION_NEEDS)
def exception_is_strict(seen: Observation) -> Iterator[Finding]:
    """The exception names the right port, and makes it STRICT."""
    port = str(_web_port(seen))
    for policy in _exceptions_for_web(seen):
        mode = _ports(policy).get(port)
        if mode in ("STRICT", "UNSET"):
            yield _refused(
                seen,
                (named(policy, f".spec.portLevelMtls.{port}.mode: {mode}"),),
                "the exception does not open the web port",
            )


@_rule(order=260, needs=_EXCEPTION_NEEDS)
def exception_missing(seen: Observation) -> Iterator[Finding]:
    """STRICT is in force, and nothing lets the load balancer in."""
    if not locked_out(seen) or _exceptions(seen):
        return
    scopes = traffic.deciding(seen.policies, seen.parameters.application.namespace)
    policy = next((scopes[s] for s in ("workload", "namespace", "mesh") if s in scopes), None)
    if policy is None:
        return
    web = seen.parameters.application.web
    yield _refused(
        seen,
        (
            named(policy, ".spec.mtls.mode: STRICT"),
            f"no PeerAuthentication with portLevelMtls selects {_text(web.labels)}",
        ),
        f"mutual TLS is STRICT, and port {web.port} has no exception",
        "run notebook 04_mutual_tls: its step mutual-tls-exception opens the port",
        link=_MIGRATION,
        kind=Kind.NOT_DONE,
    )


@_rule(order=330, needs=("services", "pods", "policies", "rules"), explained_by=_SERVER_WRONG)
def destination_rule_conflict(seen: Observation) -> Iterator[Finding]:
    """A DestinationRule makes callers do what the server refuses."""
    namespace = seen.parameters.application.namespace
    for service in seen.services:
        selector = (service["spec"].get("selector") or {}).items()
        pod = next((p for p in seen.pods if selector and selector <= labels_of(p).items()), None)
        if pod is None:
            continue
        for number, target in service_targets(service, pod):
            mode = traffic.mode_on_port(seen.policies_on(labels_of(pod)), namespace, target)
            for rule in (r for r in seen.rules if applies_to(r, service)):
                path, sends = rule_setting(rule, number)
                problem = _conflict(sends, mode, sidecar=has_sidecar(pod))
                if problem:
                    yield replace(
                        _calls_fail(rule, path, sends, problem, service, number),
                        breaks=_callers(seen, service),
                    )


def _callers(seen: Observation, service: Object) -> frozenset[str]:
    """Return the pods that go by rules about a Service: those with a sidecar, but its own."""
    selector = (service["spec"].get("selector") or {}).items()
    return frozenset(name_of(pod) for pod in seen.in_mesh if not selector <= labels_of(pod).items())


def rule_setting(rule: Object, port: int) -> tuple[str, str]:
    """Return the path and the value of the TLS mode that a DestinationRule sets for a port."""
    policy = (rule.get("spec") or {}).get("trafficPolicy") or {}
    for index, setting in enumerate(policy.get("portLevelSettings") or []):
        if (setting.get("port") or {}).get("number") == port:
            path = f".spec.trafficPolicy.portLevelSettings[{index}].tls.mode"
            # What a port sets replaces the whole of the rest; without tls it is automatic.
            return path, str((setting.get("tls") or {}).get("mode", ""))
    return ".spec.trafficPolicy.tls.mode", str((policy.get("tls") or {}).get("mode", ""))


def _conflict(sends: str, mode: str, *, sidecar: bool) -> str:
    if sends == "ISTIO_MUTUAL" and not sidecar:
        return "the server has no sidecar, so it does not speak mutual TLS"
    if sends == "ISTIO_MUTUAL" and mode == "DISABLE":
        return "the server's port does without mutual TLS (PeerAuthentication: DISABLE)"
    if sends in ("DISABLE", "SIMPLE") and sidecar and mode == "STRICT":
        return "the server's port is STRICT"
    return ""


def _calls_fail(
    rule: Object, path: str, sends: str, problem: str, service: Object, port: int
) -> Finding:
    name = name_of(service)
    return Finding(
        f"pods in the mesh that call {name}:{port} get 503 (flags UF, UC); requests from outside "
        "do not use the rule",
        (named(rule, f"{path}: {sends}"), problem),
        f"a DestinationRule has callers send {sends}, and {problem}",
        "run notebook 05_authorization: its step authorization-destination-rule sets the mode, or "
        f"delete the rule: kubectl --namespace {rule['metadata']['namespace']} delete "
        f"destinationrule {rule['metadata']['name']}",
        _TLS,
    )


def _exceptions(seen: Observation) -> list[Object]:
    """Return PeerAuthentications that may be meant to let the load balancer in."""
    if not locked_out(seen):
        return []
    return [
        policy for policy in seen.elsewhere if _ports(policy) and _is_meant_for_web(seen, policy)
    ]


def _is_meant_for_web(seen: Observation, policy: Object) -> bool:
    """Whether a policy's selector matches the web pods, or nobody: then it may be misspelt.

    What a selector of another namespace matches there is not known; it is for the web pods only if
    it says so.
    """
    selector = traffic.selector(policy)
    matches = traffic.selects(policy, seen.policies.web_labels)
    if not _is_here(seen, policy):
        return bool(selector) and matches
    return matches or not seen.selected(selector)


def _exceptions_for_web(seen: Observation) -> list[Object]:
    return [
        policy
        for policy in _exceptions(seen)
        if _is_here(seen, policy)
        and traffic.selector(policy)
        and traffic.selects(policy, seen.policies.web_labels)
    ]


def _exceptions_past_web(seen: Observation) -> list[Object]:
    """Return exceptions for the web pods that do not name the web container's port."""
    return [p for p in _exceptions_for_web(seen) if str(_web_port(seen)) not in _ports(p)]


def _is_here(seen: Observation, policy: Object) -> bool:
    return bool(namespace_of(policy) == seen.parameters.application.namespace)


def _ports(policy: Object) -> dict[str, str]:
    ports = (policy.get("spec") or {}).get("portLevelMtls") or {}
    return {str(port): (value or {}).get("mode", "UNSET") for port, value in ports.items()}


def _web_port(seen: Observation) -> int:
    return seen.parameters.application.web.port


def _mistaken(seen: Observation, policy: Object) -> list[str]:
    """Return the ports of an exception in place of which the web port may be meant.

    Those that the parameters open to other callers are not, unless there is no other.
    """
    known = set(map(str, seen.parameters.application.plaintext_ports))
    ports = list(_ports(policy))
    return [port for port in ports if port not in known] or ports


def _service_ports(seen: Observation) -> set[str]:
    """Return the Service's ports that lead to the web port, and are another number."""
    return {str(number) for number in seen.web_service_ports} - {str(_web_port(seen))}


def _text(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _refused(
    seen: Observation,
    evidence: tuple[str, ...],
    cause: str,
    remedy: str = "",
    *,
    link: str = _EXCEPTION,
    kind: Kind = Kind.FAULT,
) -> Finding:
    answers = ", ".join(answer.text for answer in seen.unreachable[:1])
    flags = [line for lines in seen.logs.values() for line in lines if "filter_chain_not" in line]
    return Finding(
        "the load balancer's plaintext is refused"
        + (f": {answers}" if answers else "; users get 502"),
        (*evidence, *flags[-1:]),
        cause,
        remedy or "run notebook 04_mutual_tls: its step mutual-tls-exception applies the exception",
        link,
        kind=kind,
        outside=True,
    )
