"""Rules about mutual TLS: why plaintext from the load balancer is refused.

`istioctl analyze` has no analyzer for any of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.cluster import Object, has_sidecar, name_of, namespace_of, reference
from runbook_lib.diagnosis import Cause, Observation, registry
from runbook_lib.lifecycle import Severity
from runbook_lib.mesh import traffic, web
from runbook_lib.mesh.policy import (
    DISABLE,
    PERMISSIVE,
    STRICT,
    UNSET,
    Reason,
    deciding,
    mode_on_port,
    port_modes,
    selector,
    selects,
    why_not_inbound,
    why_not_on_port,
)

_EXCEPTION = "https://istio.io/latest/docs/reference/config/security/peer_authentication/"
_MIGRATION = "https://istio.io/latest/docs/tasks/security/authentication/mtls-migration/"


def locked_out(seen: Observation) -> bool:
    """Whether the load balancer, which speaks plaintext, meets STRICT on the web port."""
    captured = [
        pod
        for pod in seen.web_pods
        if has_sidecar(pod) and why_not_inbound(pod, _web_port(seen)) is None
    ]
    return bool(captured) and traffic.port_mode(seen.parameters, seen.policies) == STRICT


_rule = partial(registry.rule, registry.Area.MUTUAL_TLS, "04_mutual_tls")

_MISTAKEN = ("web-labels-mistaken", "web-port-mistaken")
_EXCEPTION_NEEDS = ("pods", "workloads", "services", "policies", "elsewhere")


@_rule(order=190, needs=_EXCEPTION_NEEDS, explained_by=_MISTAKEN)
def exception_service_port(seen: Observation) -> Iterator[Cause]:
    """The exception names the Service's port; servers know the container's only."""
    wrong = _service_ports(seen)
    for policy in _exceptions_past_web(seen):
        for port in _mistaken(seen, policy):
            if port in wrong:
                yield _refused(
                    seen,
                    reference(policy),
                    (
                        reference(policy, f".spec.portLevelMtls.{port}"),
                        reference(
                            seen.web_service or {}, f".spec.ports: {port} → {_web_port(seen)}"
                        ),
                    ),
                    f"the exception names the Service's port {port}; a PeerAuthentication knows "
                    f"the container's, {_web_port(seen)}",
                )


@_rule(order=200, needs=_EXCEPTION_NEEDS, explained_by=_MISTAKEN)
def exception_other_port(seen: Observation) -> Iterator[Cause]:
    """The exception names a port that the web container does not have."""
    wrong = _service_ports(seen)
    for policy in _exceptions_past_web(seen):
        for port in _mistaken(seen, policy):
            if port not in wrong:
                yield _refused(
                    seen,
                    reference(policy),
                    (reference(policy, f".spec.portLevelMtls.{port}"),),
                    f"the exception is for port {port}; the web container's is {_web_port(seen)}",
                )


@_rule(order=210, needs=_EXCEPTION_NEEDS, explained_by=_MISTAKEN)
def exception_selects_nothing(seen: Observation) -> Iterator[Cause]:
    """The exception's selector matches no pod."""
    for policy in _exceptions(seen):
        desired = selector(policy)
        if desired and not seen.selected(desired) and _is_here(seen, policy):
            yield _refused(
                seen,
                reference(policy),
                tuple(
                    reference(policy, f".spec.selector.matchLabels.{key}: {value}")
                    for key, value in desired.items()
                ),
                "the exception's selector matches no pod: the web pods carry "
                + web.text(seen.selection.carried or {}),
            )


@_rule(order=220, needs=_EXCEPTION_NEEDS)
def exception_without_selector(seen: Observation) -> Iterator[Cause]:
    """Ports have no effect without a selector; today's API server refuses such an object."""
    for policy in _exceptions(seen):
        reason = _why_not(seen, policy)
        if reason and not selector(policy) and _is_here(seen, policy):
            yield _refused(
                seen,
                reference(policy),
                (reason.text,),
                f"an exception for a port needs a selector: {reason.why}",
            )


@_rule(order=230, needs=_EXCEPTION_NEEDS)
def exception_elsewhere(seen: Observation) -> Iterator[Cause]:
    """The exception is in a namespace where it cannot select the web pods."""
    for policy in _exceptions(seen):
        reason = _why_not(seen, policy)
        if reason and not _is_here(seen, policy):
            yield _refused(
                seen,
                reference(policy),
                (reason.text,),
                f"the exception is in another namespace: {reason.why}",
            )


@_rule(order=240, needs=_EXCEPTION_NEEDS)
def exception_shadowed(seen: Observation) -> Iterator[Cause]:
    """An older policy for the same pods decides alone."""
    namespace = seen.parameters.application.namespace
    policies = seen.policies
    winner = deciding(policies.peer_authentications, namespace, policies.web_labels).get("workload")
    for policy in _exceptions_for_web(seen):
        opens = port_modes(policy).get(str(_web_port(seen)))
        reason = _why_not(seen, policy)
        if opens in (DISABLE, PERMISSIVE) and winner is not None and winner != policy and reason:
            yield _refused(
                seen,
                reference(winner),
                (
                    reference(
                        winner,
                        f".metadata.creationTimestamp: {winner['metadata']['creationTimestamp']}",
                    ),
                    reason.text,
                ),
                f"two PeerAuthentications select the web pods, and {reason.why}",
                f"give it the exception's ports, too, or have its owner merge it into the "
                f"exception: kubectl --namespace {namespace_of(winner)} edit peerauthentication "
                f"{name_of(winner)}",
            )


@_rule(order=250, needs=_EXCEPTION_NEEDS, explained_by=_MISTAKEN)
def exception_is_strict(seen: Observation) -> Iterator[Cause]:
    """The exception names the right port, and makes it STRICT."""
    port = str(_web_port(seen))
    for policy in _exceptions_for_web(seen):
        mode = port_modes(policy).get(port)
        if mode in (STRICT, UNSET):
            yield _refused(
                seen,
                reference(policy),
                (reference(policy, f".spec.portLevelMtls.{port}.mode: {mode}"),),
                "the exception does not open the web port",
            )


@_rule(order=260, needs=_EXCEPTION_NEEDS, explained_by=_MISTAKEN)
def exception_missing(seen: Observation) -> Iterator[Cause]:
    """STRICT is in force, and nothing lets the load balancer in."""
    if not locked_out(seen) or _exceptions(seen):
        return
    port = _web_port(seen)
    policies = seen.policies
    reason = mode_on_port(
        policies.peer_authentications,
        seen.parameters.application.namespace,
        policies.web_labels,
        port,
    ).reason
    yield _refused(
        seen,
        reference(reason.item) if reason else f"port {port} of the web pods",
        (
            *([reason.text] if reason else []),
            "no PeerAuthentication with portLevelMtls selects "
            + web.text(seen.selection.carried or {}),
        ),
        f"mutual TLS is STRICT, and port {port} has no exception",
        "run notebook 04_mutual_tls: its step mutual-tls-exception opens the port",
        link=_MIGRATION,
        severity=Severity.NOT_DONE,
    )


def _exceptions(seen: Observation) -> list[Object]:
    """Return PeerAuthentications that may be meant to let the load balancer in."""
    if not locked_out(seen):
        return []
    return [
        policy
        for policy in seen.elsewhere
        if port_modes(policy) and _is_meant_for_web(seen, policy)
    ]


def _is_meant_for_web(seen: Observation, policy: Object) -> bool:
    """Whether a policy's selector matches the web pods, or none at all: then it may be misspelt.

    What a selector of another namespace matches there is not known; it is for the web pods only if
    it says so.
    """
    matches = selects(policy, seen.policies.web_labels)
    if not _is_here(seen, policy):
        return bool(selector(policy)) and matches
    return matches or not seen.selected(selector(policy))


def _exceptions_for_web(seen: Observation) -> list[Object]:
    return [
        policy
        for policy in _exceptions(seen)
        if _is_here(seen, policy) and selector(policy) and selects(policy, seen.policies.web_labels)
    ]


def _exceptions_past_web(seen: Observation) -> list[Object]:
    """Return exceptions for the web pods that do not name the web container's port."""
    return [p for p in _exceptions_for_web(seen) if str(_web_port(seen)) not in port_modes(p)]


def _is_here(seen: Observation, policy: Object) -> bool:
    return bool(namespace_of(policy) == seen.parameters.application.namespace)


def _why_not(seen: Observation, policy: Object) -> Reason | None:
    """Return why an exception does not hold on the web port."""
    return why_not_on_port(
        policy,
        seen.policies.peer_authentications,
        seen.parameters.application.namespace,
        seen.policies.web_labels,
        _web_port(seen),
    )


def _web_port(seen: Observation) -> int:
    return seen.parameters.application.web.port


def _mistaken(seen: Observation, policy: Object) -> list[str]:
    """Return the ports of an exception in place of which the web port may be meant.

    Those that the parameters open to other callers are not, unless there is no other.
    """
    known = set(map(str, seen.parameters.application.plaintext_ports))
    ports = list(port_modes(policy))
    return [port for port in ports if port not in known] or ports


def _service_ports(seen: Observation) -> set[str]:
    """Return the Service's ports that lead to the web port, and are another number."""
    ports = seen.ports_to_web(seen.web_service) if seen.web_service else ()
    return {str(number) for number in ports} - {str(_web_port(seen))}


def _refused(
    seen: Observation,
    where: str,
    evidence: tuple[str, ...],
    cause: str,
    remedy: str = "",
    *,
    link: str = _EXCEPTION,
    severity: Severity = Severity.FAULT,
) -> Cause:
    answers = ", ".join(answer.text for answer in seen.unreachable[:1])
    flags = [line for lines in seen.logs.values() for line in lines if "filter_chain_not" in line]
    return Cause(
        where,
        cause,
        "the load balancer's plaintext is refused"
        + (f": {answers}" if answers else "; users get 502"),
        remedy or "run notebook 04_mutual_tls: its step mutual-tls-exception applies the exception",
        (*evidence, *flags[-1:]),
        link=link,
        severity=severity,
        outside=True,
    )
