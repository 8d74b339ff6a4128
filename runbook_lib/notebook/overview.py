"""How far the runbook has come on a cluster: observed by planning every step, changing nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from runbook_lib import chapters as steps
from runbook_lib.base import RunbookError, evidence
from runbook_lib.lifecycle import EVIDENCE, Context, Step, Table


class Progress(StrEnum):
    """What planning a step finds, next to what was verified before."""

    DONE = "✓ done"
    TO_DO = "○ to do"
    CHANGED = "≠ changed since"
    UNKNOWN = "? cannot tell"


@dataclass(frozen=True)
class StepProgress:
    """One step on the start page.

    Attributes:
        notebook: The notebook that takes it.
        step: The step.
        progress: How far it is.
        detail: What would change, or why nobody can tell; empty when it is done.
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
    """Plan every step read-only and compare with the evidence of earlier runs.

    Args:
        context: Where to look.
        runs: The folder that holds the run folders.
    """
    looking = replace(context, parameters=context.parameters.model_copy(update={"mode": "plan"}))
    verified = verified_steps(runs, context.target.uid)
    return Overview(
        tuple(
            _observe(looking, notebook, step, before=step.name in verified)
            for notebook in steps.regular()
            for step in steps.of(notebook, context.parameters)
        )
    )


def verified_steps(runs: Path, uid: str) -> frozenset[str]:
    """Return the names of the steps that any earlier run verified on the cluster `uid`."""
    return frozenset(
        event["step"]
        for file in sorted(runs.glob(f"*/{EVIDENCE}"))
        for event in _events_on(file, uid)
        if event["event"] == "step-verified"
    )


def _events_on(file: Path, uid: str) -> Iterator[dict[str, str]]:
    """Yield the events of a run if it worked on the cluster; a run works on one only."""
    events = evidence.read(file)
    if any(e["event"] == "notebook-started" and e["uid"] == uid for e in events):
        yield from events


def _observe(context: Context, notebook: str, step: Step, *, before: bool) -> StepProgress:
    try:
        plan = step.plan(context)
    except RunbookError as error:
        return StepProgress(notebook, step, Progress.UNKNOWN, error.cause.split("\n")[0])
    if plan.empty:
        return StepProgress(notebook, step, Progress.DONE)
    progress = Progress.CHANGED if before else Progress.TO_DO
    return StepProgress(notebook, step, progress, plan.summary)
