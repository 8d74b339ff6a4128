"""Helm releases that an interrupted Helm left half-way: what to do about them, and when.

Nothing that runs is taken down to get there. Uninstalling the remains would remove istiod from
under the pods that have sidecars already, and deleting Helm's record would leave behind what only
the interrupted revision created. So a revision is applied once more with `helm rollback`: the
interrupted one if it is what should be, or if none before it ever worked; else the last that
worked, and then the release is upgraded as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from runbook_lib.base import RunbookError, WaitTimeout, wait
from runbook_lib.chapters.shared.release import contested
from runbook_lib.lifecycle import Context, Finding, Refused
from runbook_lib.tools import Release

HELM_TIMEOUT = 300.0
"""Seconds after which a Helm that was started without `--timeout` gives up."""

_PATIENCE = 15.0
"""Seconds for a Helm that is at work to end: those of the runbook do not wait for workloads."""

_WORKED = ("deployed", "superseded")


def settled(context: Context, release: str, namespace: str) -> Release | None:
    """Return a release, or None if there is none, when no Helm is at work on it any more.

    Raises:
        Refused: Another Helm may still be at work on it, on a production cluster.
    """
    found = context.helm.status(release, namespace=namespace)
    limit = HELM_TIMEOUT if context.target.production else _PATIENCE
    if found is None or not found.stuck or _age(found) >= limit:
        return found

    def observe() -> wait.State:
        nonlocal found
        found = context.helm.status(release, namespace=namespace)
        stuck = found is not None and found.stuck
        return wait.State(not stuck, found.status if found else "no release")

    try:
        wait.until(
            f"the Helm that works on {namespace}/{release} to end",
            observe,
            timeout=min(_PATIENCE, limit - _age(found)),
            interval=0.5,
            on_change=context.waiting,
        )
    except WaitTimeout as error:
        if context.target.production:
            raise Refused(
                Finding(
                    name(release, namespace),
                    f"it {state(found)}",
                    "another Helm may still be at work on it",
                    f"run again once {HELM_TIMEOUT / 60:.0f} minutes have passed since then, "
                    "Helm's own limit: if it is still so, it was interrupted, and the plan says "
                    "what to do",
                )
            ) from error
    return found


def base(stuck: Release, history: Sequence[Release], *, as_wanted: bool) -> Release:
    """Choose the revision from which a stuck release goes on.

    Args:
        stuck: The last revision.
        history: All revisions, oldest first.
        as_wanted: Whether chart and values of the last revision are those that should be.
    """
    worked = [item for item in history if item.status in _WORKED]
    # What was being uninstalled had worked before, or the same reasons hold.
    if as_wanted or not worked or stuck.status == "uninstalling":
        return stuck
    return worked[-1]


def explain(stuck: Release, base: Release) -> str:
    """Say what happened to a release, and what recovering it does."""
    what = (
        "this completes what was begun and takes nothing down"
        if base.revision == stuck.revision
        else "the last that worked, which removes only what the interrupted one added; then upgrade"
    )
    return (
        f"it {state(stuck)}: its Helm was interrupted\n"
        f"apply revision {base.revision} once more (helm rollback): {what}"
    )


def recover(context: Context, base: Release, *, timeout: float) -> Release:
    """Apply a revision once more, and return the release as it then is.

    Args:
        context: Where.
        base: The revision.
        timeout: Seconds that Helm may take.

    Raises:
        RunbookError: It is still not deployed.
    """
    context.helm.rollback(
        base.name,
        base.revision,
        namespace=base.namespace,
        timeout=timeout,
        force_conflicts=contested.forced(context, base),
    )
    found = context.helm.status(base.name, namespace=base.namespace)
    if found is None or not found.deployed:
        raise RunbookError(
            f"{name(base.name, base.namespace)} is {found.status if found else 'gone'} after its "
            "recovery",
            "another Helm is at work on it: find out whose, then run this again",
        )
    return found


def _age(release: Release) -> float:
    """Seconds since its operation began; endless where that is not known."""
    if release.since is None:
        return float("inf")
    return (datetime.now(UTC) - release.since).total_seconds()


def name(release: str, namespace: str) -> str:
    """Name a release as findings do."""
    return f"Helm release {namespace}/{release}"


def state(release: Release | None) -> str:
    """Say in what state a release is, and since when, completing a sentence about it."""
    if release is None:
        return "is gone"
    since = f" since {release.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if release.since else ""
    return f"is {release.status}{since} (revision {release.revision})"
