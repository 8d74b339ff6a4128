"""Events as a run records them, with the fields that tests do not look at filled in."""

from __future__ import annotations

from datetime import UTC, datetime

from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.before import Before, Former
from runbook_lib.lifecycle.events import (
    NotebookStarted,
    Phase,
    PlannedChange,
    StepApplied,
    StepApplying,
    StepApproved,
    StepFailed,
    StepLeft,
    StepPlanned,
    StepSkipped,
    StepTakenBack,
    StepVerified,
)
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.table import Table
from tests.unit.samples import LAB

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DIGEST = "d" * 64
APPROVED = StepApproved(DIGEST, "me@here", "RUNBOOK_APPROVE names lab-default.", AT)
SKIPPED = StepSkipped(DIGEST, "me@here", AT)
APPLYING = StepApplying(DIGEST)


def started(uid: str = LAB.uid, url: str = LAB.url) -> NotebookStarted:
    """A notebook begins on the lab."""
    return NotebookStarted(
        target=LAB.name,
        kind="lab",
        server=LAB.server,
        context=LAB.context,
        uid=uid,
        url=url,
        story="documented",
        mode="apply",
    )


def planned(*refs: str, text: str = "+x", plan_only: bool = False) -> StepPlanned:
    """A plan that would create these; nothing by default."""
    changes = tuple(PlannedChange(ref, "create", text) for ref in refs)
    summary = ", ".join(map(str, changes)) or "Nothing to change."
    return StepPlanned(DIGEST, summary, changes, plan_only=plan_only)


def applied(*changed: str, seconds: float = 0.0) -> StepApplied:
    """These were changed; nothing by default."""
    return StepApplied(DIGEST, changed, seconds)


def verified(seconds: float = 0.0, *tables: Table) -> StepVerified:
    """The effect was proved."""
    return StepVerified(seconds, tables)


def failed(
    error: str = "WaitTimeout",
    outcome: StepOutcome = StepOutcome.FAILED,
    phase: Phase = "apply",
    cause: str = "",
    remedy: str = "",
) -> StepFailed:
    """A step that came no further."""
    return StepFailed(outcome, phase, error, cause, remedy)


def former(ref: str = "Thing a/b", manifest: Object | None = None) -> Former:
    """There was no such thing before, unless a manifest of it is given."""
    return Former(ref, {"kind": "Thing"}, manifest, DIGEST, f"kubectl delete {ref}")


def applying(*objects: Former) -> StepApplying:
    """A change begins that can be taken back; of one thing by default."""
    return StepApplying(DIGEST, Before(objects or (former(),), served=True))


TAKEN_BACK = StepTakenBack(("Thing a/b (there was none)",))
LEFT = StepLeft("others have changed Thing a/b since", "kubectl delete 'Thing a/b'")
