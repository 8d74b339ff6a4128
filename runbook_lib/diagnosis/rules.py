"""All rules in the order of the decision tree, and which causes explain which others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from runbook_lib.diagnosis import (
    application,
    authorization,
    control_plane,
    leftovers,
    membership,
    mutual_tls,
    proxies,
)
from runbook_lib.diagnosis.model import Finding
from runbook_lib.diagnosis.observation import Observation


@dataclass(frozen=True)
class Rule:
    """How one cause is recognised.

    Attributes:
        name: The cause, as in its findings.
        find: Finds it in an observation.
        needs: Fields of the observation without which it cannot be judged.
        follows: Causes that explain it: with one of these it is no cause of its own.
    """

    name: str
    find: Callable[[Observation], Iterable[Finding]]
    needs: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()


_CONTROL = ("istiod-down",)
_NO_SIDECAR = ("label-missing", "webhook-missing", "webhook-unreachable", *_CONTROL)
_NO_POD = ("workload-missing", "scaled-to-zero", "pods-missing")
_EXCEPTION_NEEDS = ("pods", "workloads", "services", "policies", "elsewhere")
_EXCEPTIONS = tuple(
    f"exception-{flaw}"
    for flaw in (
        *("service-port", "other-port", "selects-nothing", "without-selector"),
        *("elsewhere", "shadowed", "is-strict", "missing"),
    )
)
_DENIAL_NEEDS = ("pods", "policies", "answers")

RULES: tuple[Rule, ...] = (
    Rule("istiod-down", control_plane.istiod_down, ("istiod", "istiod_pods", "pods", "webhooks")),
    Rule(
        "webhook-unreachable",
        control_plane.webhook_unreachable,
        ("injection", "webhooks", "istiod"),
        _CONTROL,
    ),
    Rule(
        "webhook-missing",
        control_plane.webhook_missing,
        ("injection", "webhooks", "istiod"),
        _CONTROL,
    ),
    Rule("two-labels", membership.two_labels),
    Rule("label-missing", membership.label_missing, ("pods", "policies")),
    Rule("workload-missing", application.workload_missing, ("workloads",)),
    Rule("scaled-to-zero", application.scaled_to_zero, ("workloads",)),
    Rule(
        "pods-missing",
        application.pods_missing,
        ("workloads", "pods"),
        (*_CONTROL, "webhook-unreachable"),
    ),
    Rule("pod-without-sidecar", membership.pod_without_sidecar, ("pods",), _NO_SIDECAR),
    Rule("sidecar-unstable", proxies.sidecar_unstable, ("pods",), _CONTROL),
    Rule(
        "container-not-ready",
        application.container_not_ready,
        ("pods", "workloads"),
        ("sidecar-unstable",),
    ),
    Rule("service-missing", application.service_missing, ("services",)),
    Rule("service-selects-nothing", application.service_selects_nothing, ("services", "pods")),
    Rule("target-port-wrong", application.target_port_wrong, ("services", "pods")),
    Rule(
        "no-endpoints",
        application.no_endpoints,
        ("services", "endpoints"),
        (*_NO_POD, "sidecar-unstable", "container-not-ready", "service-selects-nothing"),
    ),
    Rule("exception-service-port", mutual_tls.service_port_in_exception, _EXCEPTION_NEEDS),
    Rule("exception-other-port", mutual_tls.other_port_in_exception, _EXCEPTION_NEEDS),
    Rule("exception-selects-nothing", mutual_tls.exception_selects_nothing, _EXCEPTION_NEEDS),
    Rule("exception-without-selector", mutual_tls.exception_without_selector, _EXCEPTION_NEEDS),
    Rule("exception-elsewhere", mutual_tls.exception_elsewhere, _EXCEPTION_NEEDS),
    Rule("exception-shadowed", mutual_tls.exception_shadowed, _EXCEPTION_NEEDS),
    Rule("exception-is-strict", mutual_tls.exception_is_strict, _EXCEPTION_NEEDS),
    Rule("exception-missing", mutual_tls.exception_missing, _EXCEPTION_NEEDS),
    Rule("protocol-not-http", authorization.protocol_not_http, ("services", "policies", "answers")),
    Rule("denied-by-policy", authorization.denied_by_policy, _DENIAL_NEEDS),
    Rule("method-missing", authorization.method_missing, _DENIAL_NEEDS),
    Rule("allow-policy-excludes", authorization.allow_policy_excludes, _DENIAL_NEEDS),
    Rule("access-widened", authorization.access_widened, _DENIAL_NEEDS),
    Rule(
        "policy-selects-nothing",
        authorization.policy_selects_nothing,
        ("pods", "workloads", "policies"),
        ("exception-selects-nothing",),
    ),
    Rule(
        "destination-rule-conflict",
        mutual_tls.destination_rule_conflict,
        ("services", "pods", "policies", "rules"),
        # These change what the server does; mended, the rule fits again.
        (*_NO_SIDECAR, "pod-without-sidecar", *_EXCEPTIONS),
    ),
    Rule(
        "proxy-disconnected",
        proxies.proxy_disconnected,
        ("proxies", "pods"),
        (*_CONTROL, "sidecar-unstable"),
    ),
    Rule("proxy-stale", proxies.proxy_stale, ("proxies", "pods"), _CONTROL),
    Rule(
        "policy-not-in-effect",
        proxies.policy_not_in_effect,
        ("pods", "policies"),
        (*_CONTROL, "sidecar-unstable", "proxy-disconnected", "proxy-stale"),
    ),
    Rule(
        "analyze",
        leftovers.analyze,
        ("messages",),
        ("service-missing", "service-selects-nothing", "scaled-to-zero", "target-port-wrong"),
    ),
)
"""First what other things depend on; among causes of equal reach, this is their likelihood."""


def judge(seen: Observation, rules: Sequence[Rule] = RULES) -> tuple[Finding, ...]:
    """Return causes, the likeliest first; what follows from a cause hangs on it.

    A cause that explains answers from outside comes before one that does not: it is what people
    ask about. What could not be seen is not judged.
    """
    found = [
        finding
        for rule in rules
        if not set(rule.needs) & seen.unseen.keys()
        for finding in rule.find(seen)
    ]
    follows = {rule.name: rule.follows for rule in rules}
    hanging: dict[int, list[Finding]] = {}
    roots: list[int] = []
    for number, finding in enumerate(found):
        cause = _cause(finding, found, follows)
        if cause is None:
            roots.append(number)
        else:
            hanging.setdefault(cause, []).append(finding)
    causes = [replace(found[n], consequences=tuple(hanging.get(n, ()))) for n in roots]
    if not any(cause.reaches_outside for cause in causes):
        left = leftovers.unexplained(seen)
        causes += [left] if left else []
    return tuple(sorted(causes, key=lambda cause: not cause.reaches_outside))


def _cause(
    finding: Finding, found: Sequence[Finding], follows: dict[str, tuple[str, ...]]
) -> int | None:
    """Return the number of the deepest cause that explains a finding; None if nothing does."""
    explaining = follows.get(finding.name, ())
    for number, other in enumerate(found):
        if other.name in explaining:
            # Follow it down: an explanation may itself follow from something.
            deeper = _cause(other, found, follows)
            return number if deeper is None else deeper
    return None
