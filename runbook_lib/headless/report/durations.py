"""How long each phase of a run took, and what it made others do, for a chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from runbook_lib.base.effort import Phase
from runbook_lib.lifecycle import Record, StepRecord

PHASES: tuple[Phase, ...] = ("look", "plan", "gate", "apply", "verify")
"""In the order in which they follow; a kernel's start goes on while another notebook runs."""


@dataclass
class Bar:
    """A row of the chart: a step, or the cells of a notebook that only look.

    Attributes:
        notebook: The notebook.
        step: The step; empty for the cells that look.
        seconds: For each phase.
        requests: To the API server.
        programs: How often each program was started.
        shown_bytes: Size of what was shown.
    """

    notebook: str
    step: str
    seconds: dict[Phase, float] = field(default_factory=dict)
    requests: int = 0
    programs: Counter[str] = field(default_factory=Counter)
    shown_bytes: int = 0

    @property
    def title(self) -> str:
        """What it is about."""
        return self.step or f"{self.notebook}: looking"

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(self.seconds.values())

    @property
    def programs_text(self) -> str:
        """The programs in words, such as `2 helm, 1 istioctl`."""
        return ", ".join(f"{count} {name}" for name, count in sorted(self.programs.items()))


def bars(run: Record) -> tuple[Bar, ...]:
    """Return a row for each step and for each notebook's looks, in the order of their first event.

    A step of which only its end was recorded, as by earlier versions, has two phases.
    """
    found: dict[tuple[str, str], Bar] = {}
    for notebook, step, spent in run.spent:
        bar = found.setdefault((notebook, step), Bar(notebook, step))
        if spent.phase in PHASES:
            bar.seconds[spent.phase] = bar.seconds.get(spent.phase, 0.0) + spent.seconds
        bar.requests += spent.requests
        bar.programs.update(spent.processes)
        bar.shown_bytes += spent.shown_bytes
    for each in run.steps:
        key = (each.notebook, each.step)
        if key not in found and each.seconds:
            found[key] = Bar(each.notebook, each.step, dict(_ends(each)))
    return tuple(bar for bar in found.values() if bar.total)


def _ends(step: StepRecord) -> Iterator[tuple[Phase, float]]:
    if step.applied:
        yield "apply", step.applied.seconds
    if step.verified:
        yield "verify", step.verified.seconds
