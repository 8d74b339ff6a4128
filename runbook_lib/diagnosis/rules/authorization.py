"""Rules about AuthorizationPolicies: what is denied and should not be, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.base import RunbookError
from runbook_lib.cluster import Object, has_sidecar, namespace_of
from runbook_lib.diagnosis import Answer, Finding, Kind, Observation, named, registry
from runbook_lib.mesh import traffic

_HTTP_DOCS = "https://istio.io/latest/docs/tasks/security/authorization/authz-http/"
_SECURITY = "https://istio.io/latest/docs/ops/common-problems/security-issues/"
_PROTOCOLS = "https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/"
_OPAQUE = ("tcp", "tls", "https", "mongo", "mysql", "redis", "udp")
"""Declared protocols whose content the sidecar does not read."""

_HTTP_FIELDS = ("methods", "notMethods", "paths", "notPaths", "hosts", "notHosts")


_rule = partial(registry.rule, registry.Area.AUTHORIZATION, "05_authorization")

_DENIAL_NEEDS = ("pods", "policies", "answers")


@_rule(order=280, needs=_DENIAL_NEEDS)
def denied_by_policy(seen: Observation) -> Iterator[Finding]:
    """A DENY policy matches what the runbook allows."""
    denied = _denied(seen)
    for policy in _with_action(seen, "DENY"):
        hits = [(answer, path) for answer in denied if (path := _match(seen, policy, answer))]
        if hits:
            yield _finding(
                seen,
                [answer for answer, _ in hits],
                (named(policy, hits[0][1]),),
                f"a DENY policy matches: {named(policy)}",
                "ask whoever applied it; remove it: kubectl --namespace "
                f"{policy['metadata']['namespace']} delete authorizationpolicy "
                f"{policy['metadata']['name']}",
            )


@_rule(order=290, needs=_DENIAL_NEEDS)
def method_missing(seen: Observation) -> Iterator[Finding]:
    """The runbook's policy lacks a method that the parameters want."""
    policy = seen.own_authorization
    if policy is None:
        return
    lacking = [
        answer
        for answer in _not_denied_outright(seen)
        if [_field(path) for path in _mismatches(seen, policy, answer)] == ["methods"]
    ]
    if not lacking:
        return
    parameters = seen.parameters.authorization
    methods = traffic.allowed_methods(policy)
    first_stage = methods == set(parameters.read_methods)
    path = _mismatches(seen, policy, lacking[0])[0]
    yield _finding(
        seen,
        lacking,
        (named(policy, f"{path}: {', '.join(sorted(methods))}"),),
        "the policy is still at its first stage"
        if first_stage
        else f"the policy does not allow {', '.join(answer.method for answer in lacking)}",
        "run notebook 05_authorization: its step authorization-methods sets the final list, "
        + ", ".join(parameters.methods),
        kind=Kind.NOT_DONE if first_stage else Kind.FAULT,
    )


@_rule(order=300, needs=_DENIAL_NEEDS)
def allow_policy_excludes(seen: Observation) -> Iterator[Finding]:
    """ALLOW policies are there, and none matches: then everything is denied."""
    allowing = _with_action(seen, "ALLOW")
    own = seen.own_authorization
    denied = [
        answer
        for answer in _not_denied_outright(seen)
        if own is None or [_field(path) for path in _mismatches(seen, own, answer)] != ["methods"]
    ]
    if not denied or not allowing:
        return
    evidence = [
        named(policy, path)
        for policy in allowing
        for path in (_mismatches(seen, policy, denied[0]) or [".spec.rules: none"])
    ]
    names = ", ".join(named(policy) for policy in allowing)
    yield _finding(
        seen,
        denied,
        tuple(evidence),
        f"an ALLOW policy denies all that no rule matches, health checks too: {names}",
        "widen the field above, or delete the policy; the runbook's own is mended by notebook "
        "05_authorization",
    )


@_rule(order=310, needs=_DENIAL_NEEDS)
def access_widened(seen: Observation) -> Iterator[Finding]:
    """What the runbook's policy is there to deny gets through."""
    through = [a for a in seen.let_through if a.observed.status == a.own_status]
    if not through or not any(map(has_sidecar, seen.web_pods)):
        return
    hits = [
        named(policy, path)
        for policy in _with_action(seen, "ALLOW")
        if (path := _match(seen, policy, through[0]))
    ]
    if hits:
        yield _finding(
            seen,
            through,
            tuple(hits),
            f"a policy allows {', '.join(answer.method for answer in through)}, which the "
            "parameters do not",
            "ask whoever applied it; the runbook's own policy is mended by notebook "
            "05_authorization",
        )


@_rule(order=270, needs=("services", "policies", "answers"))
def protocol_not_http(seen: Observation) -> Iterator[Finding]:
    """HTTP rules are in force on a port that is declared to be something else."""
    service = seen.web_service
    policies = [p for p in traffic.enforced(seen.policies) if _needs_http(p)]
    if service is None or not policies or not any(map(has_sidecar, seen.web_pods)):
        return
    for number, port in enumerate(service["spec"].get("ports") or []):
        if port["port"] not in seen.web_service_ports:
            continue  # it is for other callers, who may well speak something else
        key = "appProtocol" if port.get("appProtocol") else "name"
        if str(port.get(key) or "").split("-")[0] in _OPAQUE:
            yield Finding(
                "rules about methods and paths never match: ALLOW lets nothing through, and the "
                "sidecar closes the connection"
                + (f": {seen.unreachable[0].text}" if seen.unreachable else ""),
                (
                    named(service, f".spec.ports[{number}].{key}: {port[key]}"),
                    *(f"HTTP rules: {named(policy)}" for policy in policies),
                ),
                "the Service declares the web port as no HTTP",
                f"name it http: kubectl --namespace {service['metadata']['namespace']} edit "
                f"service {service['metadata']['name']}",
                _PROTOCOLS,
                outside=bool(seen.wrong_answers),
            )


@_rule(
    order=320, needs=("pods", "workloads", "policies"), explained_by=("exception-selects-nothing",)
)
def policy_selects_nothing(seen: Observation) -> Iterator[Finding]:
    """A policy of the application's namespace is for no pod at all."""
    namespace = seen.parameters.application.namespace
    for policy in (*seen.policies.peer_authentications, *seen.policies.authorization_policies):
        selector = traffic.selector(policy)
        if namespace_of(policy) != namespace or not selector:
            continue
        if not seen.selected(selector):
            own = policy["kind"] == "AuthorizationPolicy" and policy in seen.own_policies
            yield Finding(
                "the policy has no effect"
                + (f": {seen.let_through[0].text}" if own and seen.let_through else ""),
                tuple(
                    named(policy, f".spec.selector.matchLabels.{key}: {value}")
                    for key, value in selector.items()
                ),
                f"the selector of {named(policy)} matches no pod",
                f"compare: kubectl --namespace {namespace} get pods --show-labels; the runbook's "
                "own policies are mended by notebooks 04_mutual_tls and 05_authorization",
                _SECURITY,
                outside=own and bool(seen.let_through),
            )


def _denied(seen: Observation) -> list[Answer]:
    return [answer for answer in seen.answers if answer.allowed and answer.denied]


def _not_denied_outright(seen: Observation) -> list[Answer]:
    """Return the denied answers that no DENY policy explains."""
    denying = _with_action(seen, "DENY")
    return [a for a in _denied(seen) if not any(_match(seen, p, a) for p in denying)]


def _with_action(seen: Observation, action: str) -> list[Object]:
    return [
        policy
        for policy in traffic.enforced(seen.policies)
        if (policy.get("spec") or {}).get("action", "ALLOW") == action
    ]


def _match(seen: Observation, policy: Object, answer: Answer) -> str:
    """Return the path of the first rule that matches a request from outside; empty if none."""
    for number, rule in enumerate((policy.get("spec") or {}).get("rules") or []):
        if not _rule_mismatches(seen, number, rule, answer):
            return f".spec.rules[{number}]"
    return ""


def _mismatches(seen: Observation, policy: Object, answer: Answer) -> list[str]:
    """Return the fields because of which no rule matches a request from outside."""
    rules = (policy.get("spec") or {}).get("rules") or []
    found = [_rule_mismatches(seen, n, rule, answer) for n, rule in enumerate(rules)]
    return _nearest(found) if all(found) else []


def _rule_mismatches(seen: Observation, number: int, rule: Object, answer: Answer) -> list[str]:
    path = f".spec.rules[{number}]"
    found = []
    operations = [to.get("operation") or {} for to in rule.get("to") or []]
    failed = [
        [f"{path}.to[{i}].operation.{key}" for key in _operation_mismatches(seen, op, answer)]
        for i, op in enumerate(operations)
    ]
    if failed and all(failed):
        found += _nearest(failed)
    sources = [item.get("source") or {} for item in rule.get("from") or []]
    # The load balancer has no identity, and addresses are not judged: such a source may match.
    identities = [any(s.get(key) for key in traffic.IDENTITY_SOURCES) for s in sources]
    if identities and all(identities):
        found.append(f"{path}.from")
    if rule.get("when"):
        found.append(f"{path}.when")
    return found


def _nearest(alternatives: list[list[str]]) -> list[str]:
    """Return the fields of the alternatives that are about the web port; of all if none is.

    What is about other ports is for other callers, and no reason why the web port is closed.
    """
    about = [a for a in alternatives if not {"ports", "notPorts"} & set(map(_field, a))]
    return [field for fields in about or alternatives for field in fields]


def _operation_mismatches(seen: Observation, operation: Object, answer: Answer) -> Iterator[str]:
    values = {
        "methods": answer.method,
        "paths": answer.path.partition("?")[0],
        "ports": str(seen.parameters.application.web.port),
    }
    for key, value in values.items():
        unwanted = f"not{key.capitalize()}"
        if operation.get(key) and not _any_matches(operation[key], value):
            yield key
        if operation.get(unwanted) and _any_matches(operation[unwanted], value):
            yield unwanted


def _any_matches(patterns: list[str], value: str) -> bool:
    try:
        return any(traffic.text_matches(pattern, value) for pattern in patterns)
    except RunbookError:  # a path template, which is not judged
        return False


def _field(path: str) -> str:
    return path.rpartition(".")[2]


def _needs_http(policy: Object) -> bool:
    return any(
        (to.get("operation") or {}).get(field)
        for rule in (policy.get("spec") or {}).get("rules") or []
        for to in rule.get("to") or []
        for field in _HTTP_FIELDS
    )


def _finding(
    seen: Observation,
    answers: list[Answer],
    evidence: tuple[str, ...],
    cause: str,
    remedy: str,
    *,
    kind: Kind = Kind.FAULT,
) -> Finding:
    every = [line for lines in seen.logs.values() for line in lines]
    told = [line for line in every if "rbac_access_denied" in line]
    return Finding(
        ", ".join(answer.text for answer in answers),
        (*evidence, *told[-1:]),
        cause,
        remedy,
        _HTTP_DOCS,
        kind=kind,
        outside=True,
    )
