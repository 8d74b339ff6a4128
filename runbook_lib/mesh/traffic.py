"""Which answers to expect from outside, derived from the policies in force.

The edge speaks plaintext to the web container and has no identity in the mesh. So a request meets,
in this order: mutual TLS on the container's port, then the authorization policies that select the
pod. The rules follow https://istio.io/latest/docs/reference/config/security/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runbook_lib.base import KindNotInstalled, RunbookError
from runbook_lib.cluster import (
    DRY_RUN_ANNOTATION,
    Cluster,
    Object,
    annotations_of,
    has_sidecar,
    name_of,
    namespace_of,
    reference,
)
from runbook_lib.parameters import Parameters
from runbook_lib.site import Expectation, Probe

SECURITY_API = "security.istio.io/v1"

BAD_GATEWAY = 502
"""What the edge makes of a connection that the sidecar closes."""

DENIED = Expectation(403, "RBAC: access denied")
"""Envoy's answer to a request that no policy allows; the body tells it from the application's."""

EVERYTHING = "everything"
"""What a rule allows that looks at no method, beside methods."""

IDENTITY_SOURCES = ("principals", "requestPrincipals", "namespaces", "serviceAccounts")
"""Sources proved by mutual TLS or a token: requests from the edge have neither."""

_JUDGED_OPERATIONS = ("methods", "notMethods", "paths", "notPaths", "ports", "notPorts")


@dataclass(frozen=True)
class Policies:
    """The policies that may concern the web workload.

    Attributes:
        peer_authentications: Of the root namespace and the application's.
        authorization_policies: The same.
        web_labels: The labels of the web pods, which policies select by.
        in_mesh: Whether the web pods have sidecars; without, no policy has an effect.
    """

    peer_authentications: tuple[Object, ...] = ()
    authorization_policies: tuple[Object, ...] = ()
    web_labels: Mapping[str, str] = field(default_factory=dict)
    in_mesh: bool = True


def policies_in_force(cluster: Cluster, parameters: Parameters) -> Policies:
    """Read the policies and the web pods from the cluster."""
    namespaces = (parameters.istio.namespace, parameters.application.namespace)
    labels = parameters.application.web.labels
    web = cluster.list("v1", "Pod", parameters.application.namespace, labels)
    return Policies(
        tuple(_list(cluster, "PeerAuthentication", namespaces)),
        tuple(_list(cluster, "AuthorizationPolicy", namespaces)),
        web_labels=web[0]["metadata"]["labels"] if web else labels,
        in_mesh=any(has_sidecar(pod) for pod in web),
    )


def of_the_runbook(parameters: Parameters, policies: Policies) -> Policies:
    """Return the runbook's own policies: what it wants, whatever anybody else has applied."""
    own, _ = _parted(parameters, policies)
    return own


def of_others(parameters: Parameters, policies: Policies) -> tuple[Object, ...]:
    """Return the policies of others that concern the web pods, and so may change the answers."""
    _, others = _parted(parameters, policies)
    found = (*others.peer_authentications, *others.authorization_policies)
    return tuple(policy for policy in found if selects(policy, policies.web_labels))


def _parted(parameters: Parameters, policies: Policies) -> tuple[Policies, Policies]:
    namespace = parameters.application.namespace
    own = {
        ("PeerAuthentication", parameters.istio.namespace, parameters.mutual_tls.policy),
        ("PeerAuthentication", namespace, parameters.mutual_tls.exception),
        ("AuthorizationPolicy", namespace, parameters.authorization.policy),
    }

    def part(kind: str, found: Sequence[Object], *, ours: bool) -> tuple[Object, ...]:
        names = [(kind, namespace_of(p), name_of(p)) for p in found]
        return tuple(
            policy for policy, name in zip(found, names, strict=True) if (name in own) is ours
        )

    def half(*, ours: bool) -> Policies:
        return replace(
            policies,
            peer_authentications=part(
                "PeerAuthentication", policies.peer_authentications, ours=ours
            ),
            authorization_policies=part(
                "AuthorizationPolicy", policies.authorization_policies, ours=ours
            ),
        )

    return half(ours=True), half(ours=False)


def expected_probes(parameters: Parameters, policies: Policies) -> list[Probe]:
    """Return the application's probes with the answer that the policies make of each.

    Raises:
        RunbookError: A policy uses conditions whose outcome cannot be derived.
    """
    return [
        Probe(
            probe.method,
            probe.path,
            expected_answer(parameters, policies, probe.method, probe.path, probe.status),
        )
        for probe in parameters.application.probes
    ]


def expected_answer(
    parameters: Parameters, policies: Policies, method: str, path: str, own_status: int
) -> Expectation:
    """Return the answer to expect for one request from outside.

    Args:
        parameters: The run's parameters.
        policies: The policies in force.
        method: The request's method.
        path: The request's path, perhaps with a query.
        own_status: What the application answers when nothing blocks the request.
    """
    if not policies.in_mesh:
        return Expectation(own_status)
    if port_mode(parameters, policies) == "STRICT":
        return Expectation(BAD_GATEWAY)
    request = _Request(method, path.partition("?")[0], parameters.application.web.port)
    if _allowed(policies, request):
        return Expectation(own_status)
    return DENIED


def port_mode(parameters: Parameters, policies: Policies) -> str:
    """Return the mutual TLS mode in force on the web container's port."""
    application = parameters.application
    return mode_on_port(policies, application.namespace, application.web.port)


def mode_on_port(policies: Policies, namespace: str, port: int) -> str:
    """Return the mutual TLS mode in force on a port of the workload that `policies` are about.

    The narrowest setting wins: port, workload, namespace, mesh; the oldest of equals does.

    Args:
        policies: The policies, with the workload's labels.
        namespace: The workload's namespace.
        port: The container's port.
    """
    scopes = deciding(policies, namespace)
    modes = []
    if "workload" in scopes:
        ports = (scopes["workload"].get("spec") or {}).get("portLevelMtls") or {}
        modes.append((ports.get(str(port)) or {}).get("mode"))
    modes += [
        ((scopes[scope].get("spec") or {}).get("mtls") or {}).get("mode")
        for scope in ("workload", "namespace", "mesh")
        if scope in scopes
    ]
    return next((mode for mode in modes if mode and mode != "UNSET"), "PERMISSIVE")


def deciding(policies: Policies, namespace: str) -> dict[str, Object]:
    """Return the PeerAuthentications that decide at a workload, by scope.

    The scopes are `workload`, `namespace` and `mesh`; of several in one the oldest decides. A
    selector in the root namespace has no effect.

    Args:
        policies: The policies, with the workload's labels.
        namespace: The workload's namespace.
    """
    scopes: dict[str, Object] = {}
    for policy in sorted(policies.peer_authentications, key=_age):
        where, for_some = namespace_of(policy), bool(selector(policy))
        if where == namespace and for_some:
            if selects(policy, policies.web_labels):
                scopes.setdefault("workload", policy)
        elif not for_some:
            scopes.setdefault("namespace" if where == namespace else "mesh", policy)
    return scopes


def enforced(policies: Policies) -> list[Object]:
    """Return the AuthorizationPolicies that decide at the workload `policies` are about."""
    return [
        policy
        for policy in policies.authorization_policies
        if not is_dry_run(policy)
        and selects(policy, policies.web_labels)
        # Policies with targets are for waypoints and gateways, not for sidecars.
        and not (policy.get("spec") or {}).get("targetRefs")
        and not (policy.get("spec") or {}).get("targetRef")
    ]


def allowed_methods(policy: Object | None) -> frozenset[str]:
    """Return the methods that a policy of the runbook's own shape allows."""
    if policy is None:
        return frozenset()
    return frozenset(
        method
        for rule in policy["spec"].get("rules") or []
        for to in rule.get("to") or []
        for method in to.get("operation", {}).get("methods") or []
    )


def allowed_on_port(policy: Object, port: int) -> frozenset[str]:
    """Return the methods that a policy of the runbook's own shape allows on a container port.

    `EVERYTHING` in their place if a rule looks at no method: it lets in what is not HTTP as well.
    """
    allowed: set[str] = set()
    for rule in policy["spec"].get("rules") or []:
        for to in rule.get("to") or [{}]:
            operation = to.get("operation") or {}
            if str(port) in (operation.get("ports") or [str(port)]):
                allowed.update(operation.get("methods") or [EVERYTHING])
    return in_short(allowed)


def in_short(allowed: Iterable[str]) -> frozenset[str]:
    """Leave the methods out where everything is allowed."""
    found = frozenset(allowed)
    return frozenset((EVERYTHING,)) if EVERYTHING in found else found


def opened_ports(policy: Object) -> list[str]:
    """Return the ports that a policy has rules about which look at nothing but the port."""
    return [
        port
        for rule in (policy.get("spec") or {}).get("rules") or []
        for to in rule.get("to") or []
        if (to.get("operation") or {}).keys() == {"ports"}
        for port in to["operation"]["ports"]
    ]


def is_dry_run(policy: Object) -> bool:
    """Whether a policy only logs what it would decide."""
    annotations = annotations_of(policy)
    return str(annotations.get(DRY_RUN_ANNOTATION, "")).lower() == "true"


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    port: int


def _list(cluster: Cluster, kind: str, namespaces: Sequence[str]) -> Iterator[Object]:
    try:
        for namespace in namespaces:
            yield from cluster.list(SECURITY_API, kind, namespace)
    except KindNotInstalled:
        # Without Istio's kinds there are no policies.
        return


def _allowed(policies: Policies, request: _Request) -> bool:
    """Apply Istio's order: DENY wins, then any ALLOW that matches, then no ALLOW at all."""
    denying, allowing = [], []
    for policy in enforced(policies):
        action = (policy.get("spec") or {}).get("action", "ALLOW")
        if action == "DENY":
            denying.append(policy)
        elif action == "ALLOW":
            allowing.append(policy)
        elif action != "AUDIT":
            raise _not_derivable(policy, f"action {action}")
    if any(_matches(policy, request) for policy in denying):
        return False
    return not allowing or any(_matches(policy, request) for policy in allowing)


def _matches(policy: Object, request: _Request) -> bool:
    rules = (policy.get("spec") or {}).get("rules") or []
    return any(_rule_matches(policy, rule, request) for rule in rules)


def _rule_matches(policy: Object, rule: Object, request: _Request) -> bool:
    operations = [to.get("operation") or {} for to in rule.get("to") or []]
    if operations and not any(_operation_matches(policy, op, request) for op in operations):
        return False
    sources = [item.get("source") or {} for item in rule.get("from") or []]
    if sources and not any(_source_matches(policy, source) for source in sources):
        return False
    if rule.get("when"):
        raise _not_derivable(policy, "conditions under 'when'")
    return True


def _operation_matches(policy: Object, operation: Object, request: _Request) -> bool:
    unknown = [key for key, value in operation.items() if value and key not in _JUDGED_OPERATIONS]
    if unknown:
        raise _not_derivable(policy, f"operation {', '.join(unknown)}")
    for key, value in (
        ("methods", request.method),
        ("paths", request.path),
        ("ports", str(request.port)),
    ):
        wanted, unwanted = operation.get(key), operation.get(f"not{key.capitalize()}")
        if wanted and not any(text_matches(pattern, value) for pattern in wanted):
            return False
        if unwanted and any(text_matches(pattern, value) for pattern in unwanted):
            return False
    return True


def _source_matches(policy: Object, source: Object) -> bool:
    if any(source.get(key) for key in IDENTITY_SOURCES):
        return False
    if any(source.values()):
        raise _not_derivable(policy, f"source {', '.join(source)}")
    return True


def text_matches(pattern: str, value: str) -> bool:
    """Match as Istio does: exact, prefix `a*`, suffix `*a`, or present `*`.

    Raises:
        RunbookError: The pattern is a path template, which is not judged.
    """
    if "{" in pattern:
        # Path templates, see https://istio.io/latest/docs/reference/config/security/authorization-policy/
        raise RunbookError(
            f"whether the path template {pattern!r} matches {value!r} is not judged",
            "write the path out in the policy",
        )
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    return value == pattern


def selects(policy: Object, labels: Mapping[str, str]) -> bool:
    """Whether a policy's selector matches pods with these labels; one without is for all."""
    return selector(policy).items() <= labels.items()


def selector(policy: Object) -> dict[str, str]:
    """Return the labels by which a policy selects pods; empty if it is for all."""
    found: dict[str, str] = ((policy.get("spec") or {}).get("selector") or {}).get(
        "matchLabels"
    ) or {}
    return found


def _age(policy: Object) -> tuple[str, str, str]:
    metadata = policy["metadata"]
    return metadata.get("creationTimestamp", ""), metadata["namespace"], metadata["name"]


def _not_derivable(policy: Object, what: str) -> RunbookError:
    return RunbookError(
        f"{reference(policy)} uses {what}: which answers to expect cannot be derived from it",
        "check it with: istioctl x authz check POD.NAMESPACE; the runbook judges methods, paths, "
        "ports and identities",
    )
