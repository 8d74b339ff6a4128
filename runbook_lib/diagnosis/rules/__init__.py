"""All rules in the order of the decision tree, and which causes explain which others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from runbook_lib.diagnosis import Diagnosis, Finding, Observation
from runbook_lib.diagnosis.rules import (
    admission,
    application,
    authorization,
    control_plane,
    kiali,
    leftovers,
    membership,
    mutual_tls,
    proxies,
    scaling,
)
from runbook_lib.lifecycle import Check, Table, of_checks


class Area(StrEnum):
    """What rules are about."""

    CONTROL_PLANE = "istiod and its webhook"
    INJECTION = "sidecar injection"
    APPLICATION = "workloads and Services"
    SIDECARS = "sidecars and their configuration"
    MUTUAL_TLS = "mutual TLS"
    AUTHORIZATION = "authorization"
    AUTOSCALING = "autoscaling"
    KIALI = "Kiali"
    CONFIGURATION = "istioctl analyze"
    OUTSIDE = "answers from outside"


@dataclass(frozen=True)
class Rule:
    """How one cause is recognised.

    Attributes:
        area: What it is about.
        name: The cause, as in its findings.
        find: Finds it in an observation.
        needs: Fields of the observation without which it cannot be judged.
        follows: Causes that explain it: with one of these it is no cause of its own.
        uses: Fields that are seen pod by pod: where one is missing, other pods are still judged.
    """

    area: Area
    name: str
    find: Callable[[Observation], Iterable[Finding]]
    needs: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


_CONTROL = ("istiod-down",)
_NO_SIDECAR = ("label-missing", "webhook-missing", "webhook-unreachable", *_CONTROL)
_NOT_ADMITTED = ("webhook-unreachable", "other-webhook-unreachable", "pods-refused", *_CONTROL)
_CALLS_FAIL = (
    *("sidecar-unstable", "pod-without-sidecar", "destination-rule-conflict"),
    *("policy-not-in-effect", "proxy-stale", "proxy-disconnected"),
)
"""Why a container may wait in vain for what it needs, such as a database."""
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
    Rule(
        Area.CONTROL_PLANE,
        "istiod-down",
        control_plane.istiod_down,
        ("istiod", "istiod_pods", "pods", "webhooks"),
    ),
    Rule(
        Area.CONTROL_PLANE,
        "webhook-unreachable",
        control_plane.webhook_unreachable,
        ("injection", "webhooks", "istiod"),
        _CONTROL,
    ),
    Rule(
        Area.CONTROL_PLANE,
        "webhook-missing",
        control_plane.webhook_missing,
        ("injection", "webhooks", "istiod"),
        _CONTROL,
    ),
    Rule(
        Area.INJECTION,
        "other-webhook-unreachable",
        admission.other_webhook_unreachable,
        ("workloads", "pods", "events"),
    ),
    Rule(
        Area.INJECTION,
        "pods-refused",
        admission.pods_refused,
        ("workloads", "pods", "events"),
    ),
    Rule(Area.INJECTION, "two-labels", membership.two_labels),
    Rule(Area.INJECTION, "label-missing", membership.label_missing, ("pods", "policies")),
    Rule(Area.APPLICATION, "workload-missing", application.workload_missing, ("workloads",)),
    Rule(Area.APPLICATION, "scaled-to-zero", application.scaled_to_zero, ("workloads",)),
    Rule(
        Area.APPLICATION,
        "pods-missing",
        application.pods_missing,
        ("workloads", "pods"),
        _NOT_ADMITTED,
    ),
    Rule(
        Area.INJECTION,
        "pod-without-sidecar",
        membership.pod_without_sidecar,
        ("pods",),
        _NO_SIDECAR,
    ),
    Rule(Area.SIDECARS, "sidecar-unstable", proxies.sidecar_unstable, ("pods",), _CONTROL),
    Rule(
        Area.APPLICATION,
        "container-not-started",
        application.container_not_started,
        ("pods", "workloads"),
    ),
    Rule(
        Area.APPLICATION,
        "container-not-ready",
        application.container_not_ready,
        ("pods", "workloads"),
        _CALLS_FAIL,
    ),
    Rule(Area.APPLICATION, "service-missing", application.service_missing, ("services",)),
    Rule(
        Area.APPLICATION,
        "service-selects-nothing",
        application.service_selects_nothing,
        ("services", "pods"),
    ),
    Rule(
        Area.APPLICATION, "target-port-wrong", application.target_port_wrong, ("services", "pods")
    ),
    Rule(
        Area.APPLICATION,
        "no-endpoints",
        application.no_endpoints,
        ("services", "endpoints"),
        (
            *(*_NO_POD, "sidecar-unstable", "container-not-started", "container-not-ready"),
            "service-selects-nothing",
        ),
    ),
    Rule(
        Area.MUTUAL_TLS,
        "exception-service-port",
        mutual_tls.service_port_in_exception,
        _EXCEPTION_NEEDS,
    ),
    Rule(
        Area.MUTUAL_TLS,
        "exception-other-port",
        mutual_tls.other_port_in_exception,
        _EXCEPTION_NEEDS,
    ),
    Rule(
        Area.MUTUAL_TLS,
        "exception-selects-nothing",
        mutual_tls.exception_selects_nothing,
        _EXCEPTION_NEEDS,
    ),
    Rule(
        Area.MUTUAL_TLS,
        "exception-without-selector",
        mutual_tls.exception_without_selector,
        _EXCEPTION_NEEDS,
    ),
    Rule(Area.MUTUAL_TLS, "exception-elsewhere", mutual_tls.exception_elsewhere, _EXCEPTION_NEEDS),
    Rule(Area.MUTUAL_TLS, "exception-shadowed", mutual_tls.exception_shadowed, _EXCEPTION_NEEDS),
    Rule(Area.MUTUAL_TLS, "exception-is-strict", mutual_tls.exception_is_strict, _EXCEPTION_NEEDS),
    Rule(Area.MUTUAL_TLS, "exception-missing", mutual_tls.exception_missing, _EXCEPTION_NEEDS),
    Rule(
        Area.AUTHORIZATION,
        "protocol-not-http",
        authorization.protocol_not_http,
        ("services", "policies", "answers"),
    ),
    Rule(Area.AUTHORIZATION, "denied-by-policy", authorization.denied_by_policy, _DENIAL_NEEDS),
    Rule(Area.AUTHORIZATION, "method-missing", authorization.method_missing, _DENIAL_NEEDS),
    Rule(
        Area.AUTHORIZATION,
        "allow-policy-excludes",
        authorization.allow_policy_excludes,
        _DENIAL_NEEDS,
    ),
    Rule(Area.AUTHORIZATION, "access-widened", authorization.access_widened, _DENIAL_NEEDS),
    Rule(
        Area.AUTHORIZATION,
        "policy-selects-nothing",
        authorization.policy_selects_nothing,
        ("pods", "workloads", "policies"),
        ("exception-selects-nothing",),
    ),
    Rule(
        Area.MUTUAL_TLS,
        "destination-rule-conflict",
        mutual_tls.destination_rule_conflict,
        ("services", "pods", "policies", "rules"),
        # These change what the server does; mended, the rule fits again.
        (*_NO_SIDECAR, "pod-without-sidecar", "target-port-wrong", *_EXCEPTIONS),
    ),
    Rule(
        Area.SIDECARS,
        "proxy-disconnected",
        proxies.proxy_disconnected,
        ("proxies", "pods"),
        (*_CONTROL, "sidecar-unstable"),
    ),
    Rule(Area.SIDECARS, "proxy-stale", proxies.proxy_stale, ("proxies", "pods"), _CONTROL),
    Rule(
        Area.SIDECARS,
        "policy-not-in-effect",
        proxies.policy_not_in_effect,
        ("pods", "policies"),
        (
            *(*_CONTROL, "sidecar-unstable", "proxy-disconnected", "proxy-stale"),
            # On such a port an HTTP policy is not among those that the proxy has.
            "protocol-not-http",
        ),
        uses=("listeners", "authorization"),
    ),
    Rule(Area.AUTOSCALING, "autoscaler-blind", scaling.autoscaler_blind, ("autoscalers",)),
    Rule(
        Area.AUTOSCALING,
        "autoscaler-inactive",
        scaling.autoscaler_inactive,
        ("autoscalers", "pods", "workloads"),
    ),
    Rule(
        Area.AUTOSCALING, "autoscaler-skewed", scaling.autoscaler_skewed, ("autoscalers", "mended")
    ),
    Rule(Area.KIALI, "kiali-failed", kiali.kiali_failed, ("kiali",)),
    Rule(Area.KIALI, "kiali-down", kiali.kiali_down, ("kiali_deployment",), ("kiali-failed",)),
    Rule(Area.KIALI, "kiali-token", kiali.kiali_token, ("token",)),
    Rule(
        Area.CONFIGURATION,
        "analyze",
        leftovers.analyze,
        ("messages",),
        ("service-missing", "service-selects-nothing", "scaled-to-zero", "target-port-wrong"),
    ),
)
"""First what other things depend on; among causes of equal reach, this is their likelihood."""


def unjudged(seen: Observation) -> tuple[Rule, ...]:
    """Return the rules that lack something which could not be seen, be it for one pod alone."""
    return tuple(rule for rule in RULES if {*rule.needs, *rule.uses} & seen.unseen.keys())


def health(diagnosis: Diagnosis) -> Table:
    """Return a line for each area: whether a cause was found there.

    An area is not well, and not ill, if a rule of it could not be judged.
    """
    area_of = {rule.name: rule.area for rule in RULES}
    found: dict[Area, list[str]] = {area: [] for area in Area}
    for finding in diagnosis.findings:
        found[area_of.get(finding.name, Area.OUTSIDE)].append(finding.name)
    blind = {area_of[name] for name in diagnosis.unjudged}
    checks = []
    for area, names in found.items():
        if names:
            checks.append(Check(area, ", ".join(names), ok=False))
        elif area in blind:
            checks.append(Check(area, "could not be judged", ok=None))
        else:
            checks.append(Check(area, "no cause found", ok=True))
    return of_checks("Health", checks)


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
        if other.name in explaining and other.may_explain(finding):
            # Follow it down: an explanation may itself follow from something.
            deeper = _cause(other, found, follows)
            return number if deeper is None else deeper
    return None
