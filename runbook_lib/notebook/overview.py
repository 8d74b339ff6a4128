"""How far the runbook has come on a cluster: observed by planning every step, changing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from runbook_lib import chapters as steps
from runbook_lib.base import ClusterRefused, RunbookError
from runbook_lib.lifecycle import (
    Context,
    Step,
    StepOutcome,
    StepRecord,
    Table,
    lease,
    reverting,
    runs,
)

_THREADS = 8


class Progress(StrEnum):
    """What planning a step finds, next to what earlier runs recorded of it."""

    DONE = "✓ done"
    TO_DO = "○ to do"
    CHANGED = "≠ changed since"
    UNPROVED = "! not proved"
    TAKEN_BACK = "↶ taken back"
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
    """All steps of the runbook, in order.

    Attributes:
        rows: The steps.
        held: Which run changes the cluster, whose it is, and since when; empty if none does.
    """

    rows: tuple[StepProgress, ...]
    held: str = ""

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
        return "\n".join(filter(None, [self.held, str(Table.shown("Steps", columns, rows))]))


def of(context: Context, root: Path) -> Overview:
    """Plan every step read-only and compare with the records of earlier runs.

    Args:
        context: Where to look.
        root: The folder that holds the run folders.
    """
    in_plan_mode = context.parameters.model_copy(update={"mode": "plan"})
    looking = replace(context.at_one_moment(), parameters=in_plan_mode)
    attempts = runs.attempts_on(root, context.target.uid)
    asked: list[tuple[str, Step, list[StepOutcome], list[StepRecord]]] = []
    for notebook in steps.regular():
        taken = steps.of(notebook, context.parameters)
        left = reverting.unfinished(attempts, notebook, reverting.interim(taken))
        for step in taken:
            earlier = [
                attempt.outcome
                for attempt in attempts
                if attempt.step == step.name
                and (attempt.touched or attempt.outcome is StepOutcome.VERIFIED)
            ]
            own = [attempt for attempt in left if attempt.step == step.name]
            asked.append((notebook, step, earlier, own))
    with ThreadPoolExecutor(_THREADS) as threads:  # each waits for the API server, or for Helm
        rows = tuple(threads.map(lambda each: _observe(looking, *each), asked))
    return Overview(rows, _held(context))


def _held(context: Context) -> str:
    try:
        held = lease.held_by(context.cluster)
    except ClusterRefused as error:  # a role for looking may not
        return f"Whether a run changes this cluster cannot be told: {error.cause}"
    return f"The Lease of this cluster is held by {held}." if held else ""


def _observe(
    context: Context,
    notebook: str,
    step: Step,
    earlier: Sequence[StepOutcome],
    left: Sequence[StepRecord],
) -> StepProgress:
    try:
        plan = step.plan(context)
    except RunbookError as error:
        return StepProgress(notebook, step, Progress.UNKNOWN, error.cause.split("\n")[0])
    to_do = "" if plan.empty else plan.summary
    last = earlier[-1] if earlier else StepOutcome.NOT_RUN
    # What is left of it is still there: nothing of it would have to be made.
    held = left if plan.empty else ()
    if last.unproved or held:
        back = f"take it back: {reverting.command(held)}" if held else ""
        waits = "waits for the next step" if last is StepOutcome.VERIFIED else last.text
        detail = "; ".join(filter(None, [waits, to_do, back]))
        return StepProgress(notebook, step, Progress.UNPROVED, detail)
    if last is StepOutcome.TAKEN_BACK:
        return StepProgress(notebook, step, Progress.TAKEN_BACK, to_do)
    # What leaves nothing behind is done once it was verified: the cluster cannot tell.
    proved = not plan.lasting and StepOutcome.VERIFIED in earlier
    if plan.empty or proved:
        return StepProgress(notebook, step, Progress.DONE)
    progress = Progress.CHANGED if StepOutcome.VERIFIED in earlier else Progress.TO_DO
    return StepProgress(notebook, step, progress, to_do)
