"""Which version each sidecar has, and which istiod it is connected to, as istiod says."""

from __future__ import annotations

from contextlib import suppress

from runbook_lib.base import CommandError, State, WaitTimeout, wait
from runbook_lib.chapters.upgrade import course
from runbook_lib.cluster import name_of, namespace_of, pods
from runbook_lib.lifecycle import Context, Row, Table
from runbook_lib.mesh import has_ended


def of_sidecars(context: Context, version: str | None) -> Table:
    """Prove that every sidecar of the application is connected, in one version.

    Args:
        context: Whose revision's istiod they are to be connected to.
        version: Theirs; None for any.

    Returns:
        A row for each, as it was last seen within `timeouts.policy`.
    """
    seen = _look(context, version)

    def observe() -> State:
        nonlocal seen
        seen = _look(context, version)
        waiting = [row.cells[0] for row in seen.rows if not row.ok]
        return State(seen.proved, f"not yet: {', '.join(waiting)}" if waiting else "all are")

    with suppress(WaitTimeout):  # the table says which are not
        wait.until(
            f"sidecars of {version or 'one version'} to be connected to istiod",
            observe,
            timeout=context.parameters.timeouts.policy,
            interval=1,
            on_change=context.waiting,
        )
    return seen


def _look(context: Context, version: str | None) -> Table:
    istio, namespace = context.parameters.istio, context.parameters.application.namespace
    try:
        found = {each.pod: each for each in course.connected(context, istio.revision)}
    except CommandError:
        found = {}
    rows = []
    for pod in context.cluster.list("v1", "Pod", namespace):
        if has_ended(pod) or pods.is_leaving(pod) or not pods.has_sidecar(pod):
            continue
        proxy = found.get(f"{name_of(pod)}.{namespace_of(pod)}")
        if proxy is None:
            rows.append(Row((name_of(pod), "-", "not connected"), ok=False))
        else:
            right = version in (None, proxy.version)
            rows.append(Row((name_of(pod), proxy.version, proxy.istiod), ok=right))
    columns = ("pod", "its version", "connected to")
    title = f"Sidecars, as istiod of revision {istio.revision} knows them"
    return Table(title, columns, tuple(sorted(rows, key=lambda row: row.cells)))
