"""Rules about AuthorizationPolicies: what is denied and should not be, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.cluster import Object, has_sidecar, name_of, namespace_of, reference
from runbook_lib.diagnosis import Cause, Observation, SiteAnswer, registry
from runbook_lib.lifecycle import Severity
from runbook_lib.mesh import traffic
from runbook_lib.mesh.policy import (
    Protocol,
    Reason,
    Request,
    action,
    allowed_methods,
    decide,
    match_policy,
    matching_rules,
    needs_http,
    on_port,
    selector,
)

_HTTP_DOCS = "https://istio.io/latest/docs/tasks/security/authorization/authz-http/"
_SECURITY = "https://istio.io/latest/docs/ops/common-problems/security-issues/"
_PROTOCOLS = "https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/"

_rule = partial(registry.rule, registry.Area.AUTHORIZATION, "05_authorization")

_DENIAL_NEEDS = ("pods", "policies", "answers")


@_rule(order=280, needs=_DENIAL_NEEDS)
def denied_by_policy(seen: Observation) -> Iterator[Cause]:
    """A DENY policy matches what the runbook allows, or may match it, and nothing else denies."""
    denied = _denied(seen)
    unexplained = [a for a in _not_denied_outright(seen) if _allowed_otherwise(seen, a)]
    for policy in _with_action(seen, "DENY"):
        hits = [(a, matching_rules(policy, _request(seen, a))) for a in denied]
        hits = [(answer, reasons) for answer, reasons in hits if reasons]
        cause = f"a DENY policy matches: {reference(policy)}"
        if not hits:
            hits = [(a, match_policy(policy, _request(seen, a)).unknown) for a in unexplained]
            hits = [(answer, reasons) for answer, reasons in hits if reasons]
            why = hits[0][1][0].why if hits else ""
            cause = f"a DENY policy may match: {reference(policy)}; {why}"
        if hits:
            yield _finding(
                seen,
                reference(policy),
                [answer for answer, _ in hits],
                (hits[0][1][0].text,),
                cause,
                "ask whoever applied it to narrow that rule: kubectl --namespace "
                f"{namespace_of(policy)} edit authorizationpolicy {name_of(policy)}",
            )


@_rule(order=290, needs=_DENIAL_NEEDS)
def method_missing(seen: Observation) -> Iterator[Cause]:
    """The runbook's policy lacks a method that the parameters want."""
    policy = seen.own_authorization
    if policy is None:
        return
    lacking = [
        answer for answer in _not_denied_outright(seen) if _lacks_method(seen, policy, answer)
    ]
    if not lacking:
        return
    parameters = seen.parameters.authorization
    methods = allowed_methods(policy)
    first_stage = methods == set(parameters.read_methods)
    yield _finding(
        seen,
        reference(policy),
        lacking,
        (_against(seen, policy, lacking[0])[0].text,),
        "the policy is still at its first stage"
        if first_stage
        else f"the policy does not allow {', '.join(answer.method for answer in lacking)}",
        "run notebook 05_authorization: its step authorization-methods sets the final list, "
        + ", ".join(parameters.methods),
        severity=Severity.NOT_DONE if first_stage else Severity.FAULT,
    )


@_rule(order=300, needs=_DENIAL_NEEDS)
def allow_policy_excludes(seen: Observation) -> Iterator[Cause]:
    """ALLOW policies are there, and none matches: then everything is denied."""
    allowing = _with_action(seen, "ALLOW")
    own = seen.own_authorization
    denied = [
        answer
        for answer in _not_denied_outright(seen)
        if own is None or not _lacks_method(seen, own, answer)
    ]
    denied = [a for a in denied if not _allowed_otherwise(seen, a)]
    if not denied or not allowing:
        return
    matches = [match_policy(policy, _request(seen, denied[0])) for policy in allowing]
    reasons = [reason for match in matches for reason in (*match.against, *match.unknown)]
    evidence = [reason.text for reason in reasons]
    why = "; ".join(dict.fromkeys(reason.why for match in matches for reason in match.unknown))
    names = ", ".join(reference(policy) for policy in allowing)
    yield _finding(
        seen,
        names,
        denied,
        tuple(evidence),
        f"an ALLOW policy denies all that no rule matches, health checks too: {names}"
        + (f"; {why}" if why else ""),
        "widen the field above; the runbook's own policy is mended by notebook 05_authorization",
    )


@_rule(order=310, needs=_DENIAL_NEEDS)
def access_widened(seen: Observation) -> Iterator[Cause]:
    """What the runbook's policy is there to deny gets through."""
    through = [a for a in seen.let_through if a.observed.status == a.own_status]
    if not through or not any(map(has_sidecar, seen.web_pods)):
        return
    hits = [
        reason
        for policy in _with_action(seen, "ALLOW")
        for reason in matching_rules(policy, _request(seen, through[0]))[:1]
    ]
    if hits:
        yield _finding(
            seen,
            ", ".join(reference(hit.item) for hit in hits),
            through,
            tuple(hit.text for hit in hits),
            f"a policy allows {', '.join(answer.method for answer in through)}, which the "
            "parameters do not",
            "ask whoever applied it; the runbook's own policy is mended by notebook "
            "05_authorization",
        )


@_rule(order=270, needs=("pods", "services", "policies", "answers"))
def protocol_not_http(seen: Observation) -> Iterator[Cause]:
    """HTTP rules are in force on a port that is declared to be something else."""
    pod = next(filter(has_sidecar, seen.web_pods), None)
    policies = [p for p in traffic.enforced(seen.policies) if needs_http(p)]
    if pod is None or not policies:
        return
    declared = on_port(seen.services, pod, seen.parameters.application.web.port)
    if declared.protocol is not Protocol.TCP or declared.reason is None:
        return
    service, why = declared.reason.item, declared.reason.why
    yield Cause(
        reference(service),
        "the Service declares the web port as no HTTP" + (f"; {why}" if why else ""),
        "rules about methods and paths never match: ALLOW lets nothing through, DENY denies "
        "everything, and the sidecar closes the connection"
        + (f": {seen.unreachable[0].text}" if seen.unreachable else ""),
        f"name it http: kubectl --namespace {namespace_of(service)} edit service "
        f"{name_of(service)}",
        (declared.reason.text, *(f"HTTP rules: {reference(policy)}" for policy in policies)),
        link=_PROTOCOLS,
        outside=bool(seen.wrong_answers),
    )


@_rule(
    order=320, needs=("pods", "workloads", "policies"), explained_by=("exception-selects-nothing",)
)
def policy_selects_nothing(seen: Observation) -> Iterator[Cause]:
    """A policy of the application's namespace is for no pod at all."""
    namespace = seen.parameters.application.namespace
    for policy in (*seen.policies.peer_authentications, *seen.policies.authorization_policies):
        desired = selector(policy)
        if namespace_of(policy) != namespace or not desired:
            continue
        if not seen.selected(desired):
            own = policy["kind"] == "AuthorizationPolicy" and policy in seen.own_policies
            yield Cause(
                reference(policy),
                f"the selector of {reference(policy)} matches no pod",
                "the policy has no effect"
                + (f": {seen.let_through[0].text}" if own and seen.let_through else ""),
                f"compare: kubectl --namespace {namespace} get pods --show-labels; the runbook's "
                "own policies are mended by notebooks 04_mutual_tls and 05_authorization",
                tuple(
                    reference(policy, f".spec.selector.matchLabels.{key}: {value}")
                    for key, value in desired.items()
                ),
                link=_SECURITY,
                outside=own and bool(seen.let_through),
            )


def _denied(seen: Observation) -> list[SiteAnswer]:
    return [answer for answer in seen.answers if answer.allowed and answer.denied]


def _not_denied_outright(seen: Observation) -> list[SiteAnswer]:
    """Return the denied answers that no DENY policy explains."""
    denying = _with_action(seen, "DENY")
    return [
        answer
        for answer in _denied(seen)
        if not any(match_policy(p, _request(seen, answer)).matches for p in denying)
    ]


def _with_action(seen: Observation, what: str) -> list[Object]:
    return [policy for policy in traffic.enforced(seen.policies) if action(policy) == what]


def _request(seen: Observation, answer: SiteAnswer) -> Request:
    return traffic.web_request(seen.parameters, seen.policies, answer.method, answer.path)


def _against(seen: Observation, policy: Object, answer: SiteAnswer) -> tuple[Reason, ...]:
    """Return the fields because of which no rule matches a request from outside."""
    return match_policy(policy, _request(seen, answer)).against


def _lacks_method(seen: Observation, policy: Object, answer: SiteAnswer) -> bool:
    """Whether a policy has everything but the method; rules for some sources are not for users."""
    fields = {reason.field for reason in _against(seen, policy, answer)}
    return fields - {"namespaces", "principals"} == {"methods"}


def _allowed_otherwise(seen: Observation, answer: SiteAnswer) -> bool:
    """Whether a request would get through for certain if no policy denied it."""
    others = [p for p in traffic.enforced(seen.policies) if action(p) != "DENY"]
    return bool(decide(others, _request(seen, answer)).allowed)


def _finding(
    seen: Observation,
    where: str,
    answers: list[SiteAnswer],
    evidence: tuple[str, ...],
    cause: str,
    remedy: str,
    *,
    severity: Severity = Severity.FAULT,
) -> Cause:
    every = [line for lines in seen.logs.values() for line in lines]
    told = [line for line in every if "rbac_access_denied" in line]
    return Cause(
        where,
        cause,
        ", ".join(answer.text for answer in answers),
        remedy,
        (*evidence, *told[-1:]),
        link=_HTTP_DOCS,
        severity=severity,
        outside=True,
    )
