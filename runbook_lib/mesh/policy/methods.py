"""What a policy of the runbook's own shape allows: methods on the web port, all on others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runbook_lib.cluster import Object
from runbook_lib.mesh.policy.reason import spec_of

EVERYTHING = "everything"
"""What a rule allows that looks at no method, beside methods."""


def allowed_methods(policy: Object | None) -> frozenset[str]:
    """Return the methods that a policy of the runbook's own shape allows."""
    if policy is None:
        return frozenset()
    return frozenset(
        method for operation in _operations(policy) for method in operation.get("methods") or []
    )


def allowed_on_port(policy: Object, port: int) -> frozenset[str]:
    """Return the methods that a policy of the runbook's own shape allows on a container port.

    `EVERYTHING` in their place if a rule looks at no method: it lets in what is not HTTP as well.
    """
    allowed: set[str] = set()
    for operation in _operations(policy):
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
        for operation in _operations(policy)
        if operation.keys() == {"ports"}
        for port in operation["ports"]
    ]


def _operations(policy: Object) -> Iterator[Object]:
    for rule in spec_of(policy).get("rules") or []:
        for to in rule.get("to") or [{}]:
            yield to.get("operation") or {}
