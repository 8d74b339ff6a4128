"""What DestinationRules mean: which of them a caller goes by, and what it sends to a port.

The rules are those of `destinationRule` in pilot/pkg/model/push_context.go, `mergeDestinationRule`
in destination_rule.go beside it, and pilot/pkg/xds/endpoints/mtls_checker.go of Istio; see
https://istio.io/latest/docs/reference/config/networking/destination-rule/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runbook_lib.cluster import Object, name_of, namespace_of, reference
from runbook_lib.mesh.policy.reason import Reason, age, older, spec_of, why_not_selected

CLUSTER_DOMAIN = "cluster.local"
AUTOMATIC = ""
"""The mode of callers that no rule tells what to send: mutual TLS where the server takes it."""

_WORKLOAD = ".spec.workloadSelector.matchLabels"


@dataclass(frozen=True)
class Called:
    """What is called.

    Attributes:
        host: The full host name.
        namespace: The namespace of the Service or ServiceEntry.
    """

    host: str
    namespace: str


@dataclass(frozen=True)
class Caller:
    """Who calls, and so goes by rules.

    Attributes:
        namespace: Its namespace.
        labels: Its labels, which a workloadSelector selects by.
        root: The mesh's root namespace: rules there are for all, where no one else has any.
    """

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    root: str = "istio-system"


@dataclass(frozen=True)
class Choice:
    """The DestinationRule that a caller goes by.

    Attributes:
        rule: The rule whose trafficPolicy holds; None if there is none.
        passed_over: For each other rule, the field because of which it does not hold.
    """

    rule: Object | None = None
    passed_over: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Sent:
    """What a caller is told to send to a port.

    Attributes:
        mode: `DISABLE`, `ISTIO_MUTUAL`, `SIMPLE` or `MUTUAL`; `AUTOMATIC` if nothing tells it.
        reason: The field that says so.
    """

    mode: str = AUTOMATIC
    reason: Reason | None = None


@dataclass
class _Merged:
    """Rules for one host of one namespace, which hold as one: the first is the oldest."""

    first: Object
    export_to: frozenset[str]
    policy: Object | None
    """The rule whose trafficPolicy holds."""


def service_host(name: str, namespace: str) -> str:
    """Return the full host name of a Service."""
    return f"{name}.{namespace}.svc.{CLUSTER_DOMAIN}"


def called(service: Object) -> Called:
    """Return a Service as what is called."""
    return Called(service_host(name_of(service), namespace_of(service)), namespace_of(service))


def host_of(rule: Object) -> str:
    """Return the full host that a rule is about: only a name without a dot is completed.

    See `ResolveShortnameToFQDN` in pilot/pkg/model/config.go of Istio.
    """
    host = str(spec_of(rule).get("host") or "")
    return host if "." in host or host in ("", "*") else service_host(host, namespace_of(rule))


def why_not_host(rule: Object, host: str) -> Reason | None:
    """Return why a rule is not about a host; None if it is, by its name or a wildcard."""
    said, full = str(spec_of(rule).get("host") or ""), host_of(rule)
    if full == host or (full.startswith("*") and host.endswith(full[1:])):
        return None
    why = f"it is about {full}"
    if said in short_names(host):
        why = f"a name with a dot counts as complete, and no host is called so: write {host}"
    return Reason(rule, ".spec.host", said, why)


def short_names(host: str) -> tuple[str, ...]:
    """Return the names of a Service that Kubernetes' DNS completes and Istio does not."""
    name, _, rest = host.partition(".")
    namespace = rest.partition(".")[0]
    if host != service_host(name, namespace):
        return ()
    return f"{name}.{namespace}", f"{name}.{namespace}.svc"


def choose(rules: Iterable[Object], to: Called, caller: Caller) -> Choice:
    """Return the DestinationRule that a caller goes by when it calls a host.

    The caller's own namespace comes first, then that of the host, then the root namespace; there,
    the most specific host; of several rules for it, the oldest.

    Args:
        rules: The rules of at least these namespaces.
        to: What is called.
        caller: Who calls.
    """
    ordered = sorted(rules, key=lambda rule: (not _selector(rule), age(rule)))
    about = [rule for rule in ordered if why_not_host(rule, to.host) is None]
    winner, where, best = None, "", ""
    for namespace, local in _places(to, caller):
        pool = [
            rule
            for rule in about
            if namespace_of(rule) == namespace and _looked_at(rule, caller, local=local)
        ]
        best = min(map(host_of, pool), key=_specificity, default="")
        merged = _merge([rule for rule in pool if host_of(rule) == best])
        found = [each for each in merged if local or _exported(each.first, caller)]
        if found:
            where, chosen = namespace, _for_workload(found, caller)
            winner = (chosen.policy or chosen.first) if chosen else None
            break
    return Choice(
        winner,
        tuple(
            why_not_host(rule, to.host) or _why_passed_over(rule, winner, where, best, caller)
            for rule in ordered
            if rule is not winner
        ),
    )


def sent_to_port(rule: Object | None, port: int) -> Sent:
    """Return what a rule has callers send to a port of the Service.

    A port's own settings replace all others, but for one thing: without `tls` among them, endpoints
    inherit that of the whole rule, and a caller sends them mutual TLS or plaintext accordingly.

    Args:
        rule: The rule that the caller goes by.
        port: The port that is called: the Service's, not its target.
    """
    if rule is None:
        return Sent()
    policy = spec_of(rule).get("trafficPolicy") or {}
    path, tls = ".spec.trafficPolicy", policy.get("tls")
    inherits = False
    for index, setting in enumerate(policy.get("portLevelSettings") or []):
        if (setting.get("port") or {}).get("number") == port:
            inherits = setting.get("tls") is None
            if not inherits:
                path, tls = f"{path}.portLevelSettings[{index}]", setting["tls"]
            break
    if tls is None:
        return Sent()
    mode = str(tls.get("mode") or "DISABLE")  # the first of the enum, so what is left out
    reason = Reason(rule, f"{path}.tls.mode", mode)
    if inherits and mode != "ISTIO_MUTUAL":
        return Sent("DISABLE", reason)
    return Sent(mode, reason)


def _places(to: Called, caller: Caller) -> Iterator[tuple[str, bool]]:
    """Yield namespaces in the order in which they are searched, and whether as the caller's own."""
    yield caller.namespace, True
    yield to.namespace, False
    yield caller.root, False


def _export_to(rule: Object) -> frozenset[str]:
    # One with a selector is for its own namespace, whatever it says.
    return frozenset(("." if _selector(rule) else spec_of(rule).get("exportTo")) or ())


def _looked_at(rule: Object, caller: Caller, *, local: bool) -> bool:
    """Whether a rule is among those that count in its namespace, for a caller of it or another."""
    to, own = _export_to(rule), namespace_of(rule)
    private = to in ({"."}, {own})
    if not local:
        return not private
    # The root namespace's own callers look at its private rules first, then at those for all.
    return private if own == caller.root else not to or bool(to & {".", "*", own})


def _exported(rule: Object, caller: Caller) -> bool:
    to = _export_to(rule)
    return not to or bool(to & {"*", caller.namespace})


def _specificity(host: str) -> tuple[bool, int, str]:
    """Sort names before wildcards, long ones before short ones: `MoreSpecific` of Istio."""
    return host.startswith("*"), -len(host), host


def _merge(rules: Sequence[Object]) -> list[_Merged]:
    """Merge rules for one host, the oldest first, as `mergeDestinationRule` does."""
    merged: list[_Merged] = []
    for rule in rules:
        to, mine = _export_to(rule), _selector(rule)
        sets = rule if spec_of(rule).get("trafficPolicy") is not None else None
        apart = True
        for each in merged:
            if to == each.export_to:
                apart = False
            elif not (each.export_to and to >= each.export_to):
                apart = True
                continue
            theirs = _selector(each.first)
            if mine and theirs and mine != theirs:
                apart = True
                continue
            if bool(mine) is bool(theirs):
                apart = False
            each.policy = each.policy or sets
        if apart:
            merged.append(_Merged(rule, to, sets))
    return merged


def _for_workload(merged: Sequence[_Merged], caller: Caller) -> _Merged | None:
    """Return the rule for the caller's own pods, or else the one for all."""
    for_all = None
    for each in merged:
        chosen_by = _selector(each.first)
        if not chosen_by:
            for_all = each  # the last of them, see `DestinationRule` in sidecar.go
        elif why_not_selected(each.first, chosen_by, caller.labels, _WORKLOAD) is None:
            return each
    return for_all


def _why_passed_over(
    rule: Object, winner: Object | None, where: str, best: str, caller: Caller
) -> Reason:
    """Return why a rule for the host does not hold.

    Args:
        rule: The rule.
        winner: The one that holds, if any.
        where: The namespace whose rules count.
        best: The most specific host there.
        caller: Who calls.
    """
    own, to = namespace_of(rule), _export_to(rule)
    not_here = Reason(
        rule,
        ".spec.exportTo",
        ", ".join(sorted(to)) or "*",
        f"it is not for callers of namespace {caller.namespace}",
    )
    if own != where:
        if own == caller.namespace or not _exported(rule, caller):
            return not_here
        why = f"callers of namespace {caller.namespace} go by the rules of {where or 'no other'}"
        return Reason(rule, ".metadata.namespace", own, why)
    if not _looked_at(rule, caller, local=own == caller.namespace):
        return not_here
    if host_of(rule) != best:
        why = f"the rule for {best} is more specific"
        return Reason(rule, ".spec.host", str(spec_of(rule)["host"]), why)
    if unmatched := why_not_selected(rule, _selector(rule), caller.labels, _WORKLOAD):
        return unmatched
    if winner is None:
        return not_here
    if _selector(winner) and not _selector(rule):
        why = f"{reference(winner)} has one, which matches"
        return Reason(rule, ".spec.workloadSelector", "missing", why)
    if spec_of(rule).get("trafficPolicy") is None:
        return Reason(rule, ".spec.trafficPolicy", "missing", "it tells callers nothing")
    if age(winner) > age(rule):
        # For another set of namespaces it is no rule to merge with, and the last one holds.
        why = f"{reference(winner)} has another one and is newer"
        return Reason(rule, ".spec.exportTo", not_here.found, why)
    return older(winner, rule)


def _selector(rule: Object) -> dict[str, str]:
    return (spec_of(rule).get("workloadSelector") or {}).get("matchLabels") or {}
