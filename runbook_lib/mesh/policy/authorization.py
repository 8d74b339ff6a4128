"""What AuthorizationPolicies mean: whether a request is allowed, and which fields decide that.

The rules are those of https://istio.io/latest/docs/reference/config/security/authorization-policy/
and of pilot/pkg/security/authz/model/model.go of Istio.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from runbook_lib.cluster import DRY_RUN_ANNOTATION, Object, annotations_of
from runbook_lib.mesh.policy.reason import (
    SELECTOR,
    Reason,
    selector,
    spec_of,
    why_not_selected,
)

_IDENTITIES = ("principals", "namespaces", "serviceAccounts", "trustDomains")
_TOKENS = ("requestPrincipals",)
_HTTP_OPERATIONS = ("methods", "paths", "hosts")
_HTTP_CONDITIONS = ("request.",)
_IDENTITY_CONDITIONS = (
    *("source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain"),
    "request.auth.",
)
_ADDRESSES = ("ipBlocks", "remoteIpBlocks")


@dataclass(frozen=True)
class Request:
    """What reaches a sidecar.

    Attributes:
        port: The container's port.
        method: The method; None if it is not known.
        path: The path, without a query; None if it is not known.
        http: Whether the sidecar reads it as HTTP; else it sees addresses and ports only.
        identity: Whether the caller has proved who it is, by mutual TLS or a token.
        principal: As whom, by mutual TLS: `cluster.local/ns/NAMESPACE/sa/ACCOUNT`; empty if that
            is not known, and then rules about identities are not judged.
    """

    port: int
    method: str | None = None
    path: str | None = None
    http: bool = True
    identity: bool = False
    principal: str = ""

    def source(self, kind: str) -> str | None:
        """What a source's field is compared with; None if that is not known."""
        if kind == "principals":
            return self.principal or None
        if kind == "namespaces" and self.principal:
            return self.principal.split("/")[2]
        return None


@dataclass(frozen=True)
class Match:
    """Whether something matches, by what speaks against it.

    Attributes:
        against: The fields because of which it does not match.
        unknown: The fields that decide about it and are not judged.
    """

    against: tuple[Reason, ...] = ()
    unknown: tuple[Reason, ...] = ()

    @property
    def matches(self) -> bool | None:
        """The truth; None if it depends on what is not judged."""
        if self.against:
            return False
        return None if self.unknown else True


@dataclass(frozen=True)
class Access:
    """What the policies make of a request.

    Attributes:
        allowed: Whether it gets through; None if that depends on what is not judged.
        reasons: The fields that deny it, that keep rules from allowing it, or are not judged.
    """

    allowed: bool | None
    reasons: tuple[Reason, ...] = ()


def why_not_enforced(policy: Object, labels: Mapping[str, str]) -> Reason | None:
    """Return why a policy decides nothing at pods with these labels; None if it does.

    See `ShouldAttachPolicy` in pilot/pkg/model/policyattachment.go of Istio.
    """
    if is_dry_run(policy):
        path = f".metadata.annotations.{DRY_RUN_ANNOTATION}"
        return Reason(policy, path, "true", "it logs what it would decide")
    for field in ("targetRefs", "targetRef"):
        if spec_of(policy).get(field):
            return Reason(policy, f".spec.{field}", why="it is for gateways, not for sidecars")
    return why_not_selected(policy, selector(policy), labels, SELECTOR)


def enforced(policies: Iterable[Object], labels: Mapping[str, str]) -> list[Object]:
    """Return the policies that decide at pods with these labels."""
    return [policy for policy in policies if why_not_enforced(policy, labels) is None]


def is_dry_run(policy: Object) -> bool:
    """Whether a policy only logs what it would decide."""
    text = str(annotations_of(policy).get(DRY_RUN_ANNOTATION, ""))
    return text in ("1", "t", "T", "true", "TRUE", "True")  # as Go's strconv.ParseBool


def action(policy: Object) -> str:
    """Return what a policy does with requests that it matches: ALLOW, DENY, AUDIT or CUSTOM."""
    return str(spec_of(policy).get("action") or "ALLOW")


def decide(policies: Sequence[Object], request: Request) -> Access:
    """Apply Istio's order: DENY wins, then any ALLOW that matches, then no ALLOW at all.

    Args:
        policies: Those that are enforced at the workload.
        request: What reaches it.
    """
    by_action: dict[str, list[Object]] = {}
    for policy in policies:
        by_action.setdefault(action(policy), []).append(policy)
    if custom := by_action.get("CUSTOM"):
        why = "action CUSTOM is not judged: it asks somebody else"
        return Access(None, tuple(Reason(p, ".spec.action", "CUSTOM", why) for p in custom))
    denials = [(p, match_policy(p, request)) for p in by_action.get("DENY", ())]
    for policy, match in denials:
        if match.matches:
            return Access(False, matching_rules(policy, request))
    unknown = tuple(reason for _, match in denials for reason in match.unknown)
    if unknown:
        return Access(None, unknown)
    allowing = [match_policy(p, request) for p in by_action.get("ALLOW", ())]
    if not allowing or any(match.matches for match in allowing):
        return Access(True)
    unknown = tuple(reason for match in allowing for reason in match.unknown)
    if unknown:
        return Access(None, unknown)
    return Access(False, tuple(reason for match in allowing for reason in match.against))


def match_policy(policy: Object, request: Request) -> Match:
    """Return whether any rule of a policy matches a request; if none does, the fields why not."""
    rules = spec_of(policy).get("rules") or []
    if not rules:
        return Match(
            (Reason(policy, ".spec.rules", "none", "a policy without rules matches none"),)
        )
    return _any([match_rule(policy, number, request) for number in range(len(rules))])


def matching_rules(policy: Object, request: Request) -> tuple[Reason, ...]:
    """Return the rules of a policy that match a request."""
    rules = spec_of(policy).get("rules") or []
    return tuple(
        Reason(policy, f".spec.rules[{number}]")
        for number in range(len(rules))
        if match_rule(policy, number, request).matches
    )


def match_rule(policy: Object, number: int, request: Request) -> Match:
    """Return whether a rule matches a request: all of `to`, `from` and `when`, any item of each."""
    rule, path = spec_of(policy)["rules"][number] or {}, f".spec.rules[{number}]"
    if not request.http:
        about_http = tuple(http_fields(policy, number))
        # Istio leaves such a rule out where it would allow; a denial loses the field alone, and so
        # denies more.
        if about_http and action(policy) == "ALLOW":
            return Match(about_http)
    return _all(
        (
            _any(
                [
                    _operation(policy, f"{path}.to[{i}].operation", to.get("operation"), request)
                    for i, to in enumerate(rule.get("to") or [])
                ]
            ),
            _any(
                [
                    _source(policy, f"{path}.from[{i}].source", each.get("source"), request)
                    for i, each in enumerate(rule.get("from") or [])
                ]
            ),
            *(
                _condition(policy, f"{path}.when[{i}]", condition, request)
                for i, condition in enumerate(rule.get("when") or [])
            ),
        )
    )


def http_fields(policy: Object, number: int) -> Iterator[Reason]:
    """Yield the fields of a rule that only HTTP has; `forTCP` in Istio's generator.go."""
    rule, path = spec_of(policy)["rules"][number] or {}, f".spec.rules[{number}]"
    why = "the sidecar does not read this port as HTTP, so it sees no such thing"
    for part, inner, keys in (("to", "operation", _HTTP_OPERATIONS), ("from", "source", _TOKENS)):
        for i, item in enumerate(rule.get(part) or []):
            for key, values in (item.get(inner) or {}).items():
                if values and _positive(key) in keys:
                    field = f"{path}.{part}[{i}].{inner}.{key}"
                    yield Reason(policy, field, ", ".join(values), why)
    for i, condition in enumerate(rule.get("when") or []):
        if str(condition.get("key", "")).startswith(_HTTP_CONDITIONS):
            yield Reason(policy, f"{path}.when[{i}].key", condition["key"], why)


def needs_http(policy: Object) -> tuple[Reason, ...]:
    """Return the fields of a policy that only HTTP has."""
    rules = spec_of(policy).get("rules") or []
    return tuple(field for number in range(len(rules)) for field in http_fields(policy, number))


def why_no_match(pattern: str, value: str) -> str | None:
    """Return why a text does not match as Istio matches: exact, prefix `a*`, suffix `*a`, any `*`.

    Returns:
        The reason as a clause; None if it matches. Path templates are not for this function.
    """
    if pattern.endswith("*"):
        return None if value.startswith(pattern[:-1]) else f"{value} does not begin so"
    if pattern.startswith("*"):
        return None if value.endswith(pattern[1:]) else f"{value} does not end so"
    return None if value == pattern else f"it is {value}"


def _all(parts: Iterable[Match]) -> Match:
    found = list(parts)
    return Match(
        tuple(reason for part in found for reason in part.against),
        tuple(reason for part in found for reason in part.unknown),
    )


def _any(alternatives: Sequence[Match]) -> Match:
    """Return the match of any of several; of none, nothing is demanded.

    What is about other ports is for other callers, and no reason why this port is closed, unless
    there is nothing else.
    """
    if not alternatives or any(each.matches for each in alternatives):
        return Match()
    open_ = [each for each in alternatives if each.matches is None]
    if open_:
        return Match(unknown=tuple(reason for each in open_ for reason in each.unknown))
    here = [
        each
        for each in alternatives
        if not {"ports", "notPorts"} & {reason.field for reason in each.against}
    ]
    return Match(tuple(reason for each in here or alternatives for reason in each.against))


def _operation(policy: Object, path: str, operation: Object | None, request: Request) -> Match:
    values = {"methods": request.method, "paths": request.path, "ports": str(request.port)}
    parts = []
    for key, patterns in (operation or {}).items():
        kind = _positive(key)
        if not patterns or (kind in _HTTP_OPERATIONS and not request.http):
            continue
        field = f"{path}.{key}", ", ".join(patterns)
        value = values.get(kind)
        if value is None:
            parts.append(Match(unknown=(Reason(policy, *field, f"operation {key} is not judged"),)))
        else:
            parts.append(_text(policy, *field, patterns, value, positive=key == kind))
    return _all(parts)


def _text(
    policy: Object, path: str, found: str, patterns: Sequence[str], value: str, *, positive: bool
) -> Match:
    misses = [why_no_match(pattern, value) for pattern in patterns if "{" not in pattern]
    if None in misses:
        return Match() if positive else Match((Reason(policy, path, found, f"it is {value}"),))
    if any("{" in pattern for pattern in patterns):
        return Match(unknown=(Reason(policy, path, found, "a path template is not judged"),))
    return Match((Reason(policy, path, found, f"it is {value}"),)) if positive else Match()


def _source(policy: Object, path: str, source: Object | None, request: Request) -> Match:
    parts = []
    for key, values in (source or {}).items():
        kind = _positive(key)
        if not values or (kind in _TOKENS and not request.http):
            continue
        field = f"{path}.{key}", ", ".join(values)
        if kind in (*_IDENTITIES, *_TOKENS) and not request.identity:
            if key == kind:
                why = "the caller has no identity in the mesh"
                parts.append(Match((Reason(policy, *field, why),)))
            continue
        if (value := request.source(kind)) is not None:
            parts.append(_text(policy, *field, values, value, positive=key == kind))
            continue
        why = f"source {key} is not judged"
        if kind in _ADDRESSES:
            why += ": from outside, the sidecar sees the load balancer's address"
        parts.append(Match(unknown=(Reason(policy, *field, why),)))
    return _all(parts)


def _condition(policy: Object, path: str, condition: Object, request: Request) -> Match:
    key, values = str(condition.get("key", "")), condition.get("values") or []
    unwanted = condition.get("notValues") or []
    if not request.http and key.startswith(_HTTP_CONDITIONS):
        return Match()
    if key == "destination.port":
        port = str(request.port)
        desired = _text(policy, f"{path}.values", ", ".join(values), values, port, positive=True)
        other = _text(
            policy, f"{path}.notValues", ", ".join(unwanted), unwanted, port, positive=False
        )
        return _all([desired] * bool(values) + [other] * bool(unwanted))
    if key.startswith(_IDENTITY_CONDITIONS) and not request.identity:
        if not values:
            return Match()
        why = "the caller has no identity in the mesh"
        return Match((Reason(policy, f"{path}.key", key, why),))
    why = "conditions under 'when' are not judged but for ports and identities"
    return Match(unknown=(Reason(policy, f"{path}.key", key, why),))


def _positive(key: str) -> str:
    """Return the field that `notX` is the opposite of, `x`; another field as it is."""
    if key.startswith("not") and key[3:4].isupper():
        return key[3].lower() + key[4:]
    return key
