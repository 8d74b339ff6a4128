"""`summary.json`: what a run came to, for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.record import StepRecord

_SHOWN = ("notebook", "step", "outcome", "changed", "seconds")


def write(
    folder: Path,
    mode: str,
    steps: Iterable[StepRecord],
    *,
    ended_by: str | None = None,
    failure: object = None,
) -> None:
    """Write `summary.json` beside a run's evidence, which it seals.

    Args:
        folder: The run's.
        mode: `apply` or `plan`.
        steps: Every step that it should have taken.
        ended_by: The name of the signal that ended it.
        failure: Why a notebook did not reach its end, as JSON values.

    Raises:
        RunbookError: It cannot be written.
    """
    steps = tuple(steps)
    text = json.dumps(
        {
            "folder": folder,
            "mode": mode,
            "complete": not failure and not ended_by and enough(mode, steps),
            "ended_by": ended_by,
            "steps": [{name: getattr(step, name) for name in _SHOWN} for step in steps],
            "failure": failure,
            "evidence": asdict(runs.seal_of(folder)),
        },
        indent=2,
        default=str,
    )
    with runs.written_to(folder):
        (folder / runs.SUMMARY).write_text(text + "\n", encoding="utf-8")


def enough(mode: str, steps: Iterable[StepRecord]) -> bool:
    """Whether every step was verified, or planned where no more was asked for."""
    outcome = StepOutcome.PLANNED if mode == "plan" else StepOutcome.VERIFIED
    return all(step.outcome is outcome for step in steps)
