"""The report of a run or a session: one self-contained HTML page, made from what it recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from runbook_lib.base import Seal, style
from runbook_lib.headless.progress import changed_text
from runbook_lib.headless.report import durations, pictures
from runbook_lib.headless.report.pictures import Picture
from runbook_lib.lifecycle import Record, StepOutcome, StepRecord, runs, yes_no


@dataclass(frozen=True)
class Verdict:
    """What a run comes to, in a sentence.

    Attributes:
        text: The sentence.
        look: `good`, `warn` or `bad`.
        stopped: The step at which it went no further; None if none did.
    """

    text: str
    look: str
    stopped: StepRecord | None = None


def render(run: Record, seal: Seal, shown: tuple[Picture, ...] = (), ended_by: str = "") -> str:
    """The report as an HTML page; everything from the record is escaped.

    Args:
        run: The record, with the steps that were not come to.
        seal: What stands for its evidence.
        shown: Pictures, as HTML that is trusted.
        ended_by: The signal that ended it; empty if none did.
    """
    from jinja2 import Environment, StrictUndefined  # takes a while to import

    source = (
        resources.files("runbook_lib.headless.report")
        .joinpath("templates/report.html.j2")
        .read_text()
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["changed"] = changed_text
    environment.filters["yes_no"] = yes_no
    environment.filters["moment"] = lambda at: f"{at:%Y-%m-%d %H:%M:%S}"
    environment.filters["seconds"] = _seconds
    template = environment.from_string(source)
    bars = durations.bars(run)
    return template.render(
        run=run,
        seal=seal,
        pictures=shown,
        verdict=verdict(run, ended_by),
        bars=bars,
        phases=durations.PHASES,
        longest=max((bar.total for bar in bars), default=1),
        hues=style.HUES,
        tints=style.TINTS,
    )


def write(folder: Path, timeline: str = "") -> Path:
    """Write `report.html` beside the run's evidence; returns its path.

    Args:
        folder: The run's.
        timeline: The answers from outside over time, as HTML, from the part that draws them.
    """
    path = folder / "report.html"
    summary = _summary(folder)
    record = runs.record_of(folder)
    steps = summary.get("steps", ())
    missing = [StepRecord(each["notebook"], each["step"]) for each in steps]
    known = {(step.notebook, step.step) for step in record.steps}
    missing = [step for step in missing if (step.notebook, step.step) not in known]
    record = replace(record, attempts=(*record.attempts, *missing))
    drawn = (Picture("Answers from outside", timeline),) if timeline else ()
    shown = (*drawn, *pictures.of(folder))
    page = render(record, runs.seal_of(folder), shown, summary.get("ended_by") or "")
    with runs.written_to(folder):
        path.write_text(page, encoding="utf-8")
    return path


def verdict(run: Record, ended_by: str = "") -> Verdict:
    """Say what a run comes to."""
    steps = run.steps
    verified = sum(step.outcome is StepOutcome.VERIFIED for step in steps)
    changed = sum(bool(step.changed) for step in steps)
    of_all = f"{verified} of {len(steps)} steps verified, {changed} of them changed something"
    stopped = next((step for step in steps if step.outcome.stopped), None)
    if stopped is not None:
        return Verdict(f"Stopped at {stopped.step}: {of_all}", "bad", stopped)
    if any(step.outcome is StepOutcome.APPLIED for step in steps):
        return Verdict(f"Ended before everything was proved: {of_all}", "bad")
    if ended_by:
        return Verdict(f"Ended by {ended_by}: {of_all}", "bad")
    if steps and all(step.planned and step.planned.plan_only for step in steps):
        pending = sum(step.pending for step in steps)
        return Verdict(
            f"Planned, nothing was changed: {pending} of {len(steps)} steps have changes pending",
            "good",
        )
    waiting = [step for step in steps if step.outcome is StepOutcome.NOT_APPROVED]
    if waiting:
        return Verdict(f"Waits for approval of {waiting[0].step}: {of_all}", "warn", waiting[0])
    done = bool(steps) and verified == len(steps)
    return Verdict(of_all, "good" if done else "warn")


def _summary(folder: Path) -> dict[str, Any]:
    """Return what a run said of itself; a session in JupyterLab has no such file."""
    try:
        found: dict[str, Any] = json.loads((folder / runs.SUMMARY).read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"
