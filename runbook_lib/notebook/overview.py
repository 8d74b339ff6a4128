"""How far the runbook has come on a cluster: observed by planning every step, changing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from runbook_lib import chapters as steps
from runbook_lib.base import RunbookError
from runbook_lib.lifecycle import EVIDENCE, Context, Step, StepOutcome, Table, record


class Progress(StrEnum):
    """What planning a step finds, next to what earlier runs recorded of it."""

    DONE = "✓ done"
    TO_DO = "○ to do"
    CHANGED = "≠ changed since"
    UNPROVED = "! not proved"
    UNKNOWN = "? cannot tell"


@dataclass(frozen=True)
class StepProgress:
    """One step on the start page.

    Attributes:
        notebook: The notebook that takes it.
        step: The step.
        progress: How far it is.
        detail: What would change, or why that cannot be told; empty when it is done.
    """

    notebook: str
    step: Step
    progress: Progress
    detail: str = ""


@dataclass(frozen=True)
class Overview:
    """All steps of the runbook, in order."""

    rows: tuple[StepProgress, ...]

    def __str__(self) -> str:
        """The overview as a text table."""
        columns = ("notebook", "step", "state", "takes", "risk", "undo")
        rows = tuple(
            (
                row.notebook,
                row.step.title,
                f"{row.progress}: {row.detail}" if row.detail else str(row.progress),
                row.step.takes,
                row.step.risk,
                row.step.undo,
            )
            for row in self.rows
        )
        return str(Table.shown("Steps", columns, rows))


def of(context: Context, runs: Path) -> Overview:
    """Plan every step read-only and compare with the records of earlier runs.

    Args:
        context: Where to look.
        runs: The folder that holds the run folders.
    """
    looking = replace(context, parameters=context.parameters.model_copy(update={"mode": "plan"}))
    earlier = earlier_outcomes(runs, context.target.uid)
    return Overview(
        tuple(
            _observe(looking, notebook, step, earlier.get(step.name, ()))
            for notebook in steps.regular()
            for step in steps.of(notebook, context.parameters)
        )
    )


def earlier_outcomes(runs: Path, uid: str) -> dict[str, list[StepOutcome]]:
    """Return by step what came of it whenever a run changed or verified it, oldest first.

    Args:
        runs: The folder that holds the run folders.
        uid: The cluster's; a run works on one only.
    """
    found: dict[str, list[StepOutcome]] = {}
    # Run folders are named after the time.
    for run in map(record.of, sorted(runs.glob(f"*/{EVIDENCE}"))):
        if run.started is None or run.started.uid != uid:
            continue
        for attempt in run.attempts:
            if attempt.touched or attempt.outcome is StepOutcome.VERIFIED:
                found.setdefault(attempt.step, []).append(attempt.outcome)
    return found


def _observe(
    context: Context, notebook: str, step: Step, earlier: Sequence[StepOutcome]
) -> StepProgress:
    try:
        plan = step.plan(context)
    except RunbookError as error:
        return StepProgress(notebook, step, Progress.UNKNOWN, error.cause.split("\n")[0])
    to_do = "" if plan.empty else plan.summary
    if earlier and earlier[-1].unproved:
        detail = "; ".join(filter(None, [earlier[-1].text, to_do]))
        return StepProgress(notebook, step, Progress.UNPROVED, detail)
    # What leaves nothing behind is done once it was verified: the cluster cannot tell.
    proved = not plan.lasting and StepOutcome.VERIFIED in earlier
    if plan.empty or proved:
        return StepProgress(notebook, step, Progress.DONE)
    progress = Progress.CHANGED if StepOutcome.VERIFIED in earlier else Progress.TO_DO
    return StepProgress(notebook, step, progress, to_do)
