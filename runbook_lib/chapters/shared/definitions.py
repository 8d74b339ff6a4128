"""Wait until the API server serves kinds that were just defined."""

from __future__ import annotations

from collections.abc import Collection

from runbook_lib.base import State
from runbook_lib.cluster import CRD, CUSTOM_KINDS, Object, name_of
from runbook_lib.lifecycle import Context


def wait_until_served(
    context: Context, what: str, names: Collection[str], *, timeout: float
) -> None:
    """Wait until definitions are Established: one that is stored but not served is of no use.

    Args:
        context: Where.
        what: The kinds in words, such as `Istio's kinds`.
        names: The definitions' names, such as `kialis.kiali.io`.
        timeout: Seconds in all.

    Raises:
        WaitTimeout: Time is up; the error names those that are missing.
    """

    def observe(found: list[Object]) -> State:
        established = {name_of(item) for item in found if _is_established(item)}
        missing = sorted(set(names) - established)
        text = f"not served yet: {', '.join(missing)}" if missing else "all served"
        return State(not missing, text)

    context.cluster.watch_until(
        f"{what} to be served",
        CUSTOM_KINDS,
        CRD,
        None,
        observe,
        timeout=timeout,
        on_change=context.waiting,
    )


def _is_established(definition: Object) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
