"""What a policy of the runbook's own shape allows: methods on the web port, all on others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runbook_lib.cluster import Object
from runbook_lib.mesh.policy.reason import spec_of

EVERYTHING = "everything"
"""What a rule allows that looks at no method, beside methods."""


TO_SOME = " to some"
"""After a method that a rule allows to some sources alone."""


def allowed_methods(policy: Object | None) -> frozenset[str]:
    """Return the methods that a policy of the runbook's own shape allows to everybody."""
    if policy is None:
        return frozenset()
    return frozenset(
        method
        for operation, sources in _operations(policy)
        for method in operation.get("methods") or []
        if not sources
    )


def allowed_to_some(policy: Object) -> list[str]:
    """Return what a policy allows to some sources alone, as `POST from namespaces imaging`."""
    return [
        f"{', '.join(operation.get('methods') or [EVERYTHING])} from {' or '.join(sources)}"
        for operation, sources in _operations(policy)
        if sources
    ]


def allowed_on_port(policy: Object, port: int) -> frozenset[str]:
    """Return the methods that a policy of the runbook's own shape allows on a container port.

    `EVERYTHING` in their place if a rule looks at no method: it lets in what is not HTTP as well.
    What only some sources may do ends with `TO_SOME`.
    """
    allowed: set[str] = set()
    for operation, sources in _operations(policy):
        if str(port) in (operation.get("ports") or [str(port)]):
            suffix = TO_SOME if sources else ""
            allowed.update(f"{m}{suffix}" for m in operation.get("methods") or [EVERYTHING])
    return in_short(allowed)


def in_short(allowed: Iterable[str]) -> frozenset[str]:
    """Leave the methods out where everything is allowed."""
    found = frozenset(allowed)
    return frozenset((EVERYTHING,)) if EVERYTHING in found else found


def opened_ports(policy: Object) -> list[str]:
    """Return the ports that a policy has rules about which look at nothing but the port."""
    return [
        port
        for operation, sources in _operations(policy)
        if operation.keys() == {"ports"} and not sources
        for port in operation["ports"]
    ]


def _operations(policy: Object) -> Iterator[tuple[Object, list[str]]]:
    """Yield each operation of the rules, with its sources in words; none: it is for everybody."""
    for rule in spec_of(policy).get("rules") or []:
        sources = [
            " and ".join(f"{key} {', '.join(values)}" for key, values in each["source"].items())
            for each in rule.get("from") or []
        ]
        for to in rule.get("to") or [{}]:
            yield to.get("operation") or {}, sources
