"""What PeerAuthentications mean: the mutual TLS mode on a port, and which field sets it.

The rules are those of `ComposePeerAuthentication` in pilot/pkg/security/authn/policy_applier.go of
Istio; see https://istio.io/latest/docs/reference/config/security/peer_authentication/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runbook_lib.cluster import Object, namespace_of
from runbook_lib.mesh.policy.reason import (
    SELECTOR,
    Reason,
    age,
    older,
    selector,
    selects,
    spec_of,
    why_not_selected,
)

STRICT, PERMISSIVE, DISABLE, UNSET = "STRICT", "PERMISSIVE", "DISABLE", "UNSET"


@dataclass(frozen=True)
class PortMode:
    """The mode in force on a port.

    Attributes:
        mode: `STRICT`, `PERMISSIVE` or `DISABLE`.
        reason: The field that sets it; None if no policy does, and so the default holds.
    """

    mode: str
    reason: Reason | None = None


def deciding(
    policies: Iterable[Object], namespace: str, labels: Mapping[str, str]
) -> dict[str, Object]:
    """Return the PeerAuthentications that decide at a workload, by scope.

    The scopes are `workload`, `namespace` and `mesh`, the narrowest first; of several in one the
    oldest decides. A selector in the root namespace has no effect.

    Args:
        policies: Those of the root namespace and of the workload's.
        namespace: The workload's namespace.
        labels: The workload's labels.
    """
    scopes: dict[str, Object] = {}
    for policy in sorted(policies, key=age):
        here, for_some = namespace_of(policy) == namespace, bool(selector(policy))
        if not for_some:
            scopes.setdefault("namespace" if here else "mesh", policy)
        elif here and selects(policy, labels):
            scopes.setdefault("workload", policy)
    return {scope: scopes[scope] for scope in ("workload", "namespace", "mesh") if scope in scopes}


def mode_on_port(
    policies: Iterable[Object], namespace: str, labels: Mapping[str, str], port: int
) -> PortMode:
    """Return the mutual TLS mode in force on a port of a workload.

    The narrowest setting wins: port, workload, namespace, mesh; UNSET inherits. Ports count in
    policies with a selector alone.

    Args:
        policies: Those of the root namespace and of the workload's.
        namespace: The workload's namespace.
        labels: The workload's labels.
        port: The container's port.
    """
    scopes = deciding(policies, namespace, labels)
    settings = []
    if "workload" in scopes:
        mode = port_modes(scopes["workload"]).get(str(port))
        settings.append((scopes["workload"], f".spec.portLevelMtls.{port}.mode", mode))
    settings += [
        (policy, ".spec.mtls.mode", (spec_of(policy).get("mtls") or {}).get("mode"))
        for policy in scopes.values()
    ]
    for policy, path, mode in settings:
        if mode and mode != UNSET:
            return PortMode(mode, Reason(policy, path, mode))
    return PortMode(PERMISSIVE)


def why_not_on_port(
    policy: Object,
    policies: Iterable[Object],
    namespace: str,
    labels: Mapping[str, str],
    port: int,
) -> Reason | None:
    """Return why what a policy says about single ports does not hold on a port of a workload.

    Args:
        policy: The policy, of any namespace.
        policies: Those of the root namespace and of the workload's.
        namespace: The workload's namespace.
        labels: The workload's labels.
        port: The container's port.

    Returns:
        The field; None if its setting for the port is in force.
    """
    if namespace_of(policy) != namespace:
        return Reason(
            policy,
            ".metadata.namespace",
            namespace_of(policy),
            f"it selects pods of its own namespace only; the pods are in {namespace}",
        )
    if not selector(policy):
        return Reason(
            policy, ".spec.selector", "missing", "without a selector portLevelMtls is ignored"
        )
    if unmatched := why_not_selected(policy, selector(policy), labels, SELECTOR):
        return unmatched
    winner = deciding(policies, namespace, labels).get("workload")
    if winner is not None and winner != policy:
        return older(winner, policy)
    mode = port_modes(policy).get(str(port))
    if mode is None:
        return Reason(policy, ".spec.portLevelMtls", ", ".join(port_modes(policy)), "other ports")
    if mode == UNSET:
        return Reason(policy, f".spec.portLevelMtls.{port}.mode", mode, "it inherits")
    return None


def port_modes(policy: Object) -> dict[str, str]:
    """Return the modes that a policy sets for single ports."""
    ports = spec_of(policy).get("portLevelMtls") or {}
    return {str(port): (value or {}).get("mode", UNSET) for port, value in ports.items()}
