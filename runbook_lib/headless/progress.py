"""Show a run while it happens, by following its journal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from runbook_lib.base import Entry, journal, wait
from runbook_lib.headless.run import Result
from runbook_lib.lifecycle import NotebookStarted, Record, StepOutcome, StepRecord, runs
from runbook_lib.lifecycle.events import (
    ByHand,
    StepApplied,
    StepApplying,
    StepFailed,
    StepLeft,
    StepPlanned,
    StepTakenBack,
    StepVerified,
    Waiting,
)

_INTERVAL = 0.1
_NO_LIMIT = float("inf")

SETTLED = 5.0
"""Seconds for which a file hears nothing of a state that may be gone the next moment."""

HEARTBEAT = 60.0
"""Seconds after which a file hears that what it heard last is still so."""

_STYLES = {
    StepOutcome.VERIFIED: "green",
    StepOutcome.PLANNED: "cyan",
    StepOutcome.NOT_APPROVED: "yellow",
    StepOutcome.REFUSED: "yellow",
    StepOutcome.APPLIED: "red",
    StepOutcome.INTERRUPTED: "red",
    StepOutcome.FAILED: "red",
    StepOutcome.TAKEN_BACK: "yellow",
}


@contextmanager
def follow(folder: Path, total: int, console: Console) -> Iterator[None]:
    """Show notebooks and steps as they come, until the block ends.

    Args:
        folder: The run's folder.
        total: How many steps there are.
        console: A terminal gets a bar with what is being waited for; a file a line a step, one
            whenever that changes, and one a minute while nothing does.
    """
    ended = threading.Event()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        view = View(console, bar, total)
        tail = journal.Tail(folder / runs.EVIDENCE)

        def observe() -> wait.State:
            last = ended.is_set()
            view.show(tail.new())
            view.show_alive()
            return wait.State(last, "")

        def watch() -> None:
            wait.until(
                "the run to end",
                observe,
                timeout=_NO_LIMIT,
                interval=_INTERVAL,
                sleep=ended.wait,
            )

        follower = threading.Thread(target=watch, name="follow-journal", daemon=True)
        follower.start()
        try:
            yield
        finally:
            ended.set()
            follower.join()
            view.show_unproved()


def summary_table(result: Result) -> Table:
    """Return every step with what came of it."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("notebook", "step", "result", "changed"):
        table.add_column(column, no_wrap=column != "changed")
    table.add_column("seconds", justify="right")
    for step in result.steps:
        table.add_row(
            step.notebook,
            step.step,
            f"[{_STYLES.get(step.outcome, 'dim')}]{step.outcome}[/]",
            changed_text(step),
            f"{step.seconds:.1f}" if step.seconds else "",
        )
    return table


def changed_text(step: StepRecord) -> str:
    """Say how much a step changed."""
    if step.taken_back:
        return "nothing"
    if step.changed:
        return "1 change" if len(step.changed) == 1 else f"{len(step.changed)} changes"
    if step.touched and step.applied is None:
        return "unknown"
    return "nothing" if step.outcome is StepOutcome.VERIFIED else ""


def conclusion(result: Result) -> str:
    """Say in a few lines how a run ended, and why."""
    if result.failure:
        failure = result.failure
        cell = f", cell {failure.cell}" if failure.cell else ""
        return "\n".join(
            [
                f"Stopped in {failure.notebook}{cell}: {failure.error}",
                *(f"  {line}" for line in failure.message.splitlines()),
                f"See the cell in {failure.executed}",
            ]
        )
    if result.mode == "plan":
        pending = sum(step.pending for step in result.steps)
        more = f" {pending} of {len(result.steps)} steps have changes pending." if pending else ""
        return f"Plan mode: nothing was changed.{more}"
    changed = sum(bool(step.changed) for step in result.steps)
    if changed == 0:
        return f"All {len(result.steps)} steps verified, 0 changed: everything was in place."
    return f"All {len(result.steps)} steps verified, {changed} changed."


class View:
    """Turns what is recorded into lines and the state of a bar."""

    def __init__(
        self,
        console: Console,
        bar: Progress,
        total: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._clock = clock
        self._state, self._told = "", ""
        self._since = self._spoke = clock()
        self._bar = bar
        self._task = bar.add_task("starting", total=total)
        self._record = Record()

    def show(self, entries: Iterable[Entry]) -> None:
        """Show events that were recorded since the last time."""
        for entry in entries:
            self._record = self._record.after(entry)
            self._show(entry, self._record.step(entry.notebook, entry.step))

    def show_alive(self) -> None:
        """Say what is being waited for, where no bar shows it."""
        if self._console.is_terminal or not self._state:
            return
        silent = self._clock() - self._spoke
        if self._state != self._told and silent >= SETTLED:
            self._say(f"  … {self._state}")
        elif silent >= HEARTBEAT:
            self._say(f"  … {self._state} (for {self._clock() - self._since:.0f} s now)")

    def show_unproved(self) -> None:
        """Show the steps at which the record ends: nothing more comes about them."""
        for step in self._record.steps:
            if step.outcome.unproved:
                self._line(step, step.outcome.text)

    def _show(self, entry: Entry, step: StepRecord) -> None:
        match entry.event:
            case NotebookStarted():
                self._describe(entry.notebook)
                self._say(entry.notebook, "bold")
            case Waiting() as waiting:
                self._describe(f"{entry.step}: {waiting.state}")
            case ByHand() as asked:
                self._say(f"  … {entry.step}: {asked.what}")
            case StepPlanned() as planned if planned.plan_only:
                self._line(step, planned.summary)
            case StepPlanned():
                self._describe(f"{entry.step}: gate")
            case StepApplying():
                self._describe(f"{entry.step}: applying")
            case StepApplied():
                self._describe(f"{entry.step}: verifying")
            case StepVerified():
                self._line(step, f"verified; {', '.join(step.changed) or 'nothing to change'}")
            case StepFailed(outcome=StepOutcome.FAILED) as failed:
                self._line(step, f"{failed.phase} failed: {failed.error}")
            case StepTakenBack() as taken:
                self._more(step, f"taken back: {', '.join(taken.objects)}")
            case StepLeft() as left:
                self._more(step, f"not taken back: {left.reason.splitlines()[0]}")
            case StepFailed(outcome=StepOutcome.NOT_APPROVED | StepOutcome.REFUSED) as failed:
                self._line(
                    step, f"{failed.outcome}: {(failed.cause or failed.error).splitlines()[0]}"
                )

    def _line(self, step: StepRecord, text: str) -> None:
        """Show a step that comes no further."""
        self._more(step, text)
        self._bar.advance(self._task)

    def _more(self, step: StepRecord, text: str) -> None:
        """Show what became of a step."""
        sign, text = step.outcome.sign, f"{step.step}: {text}"
        self._say(f"  {sign} {text}", _STYLES.get(step.outcome, "dim"), len(f"  {sign}"))
        self._state = self._told = step.notebook
        self._since = self._spoke

    def _describe(self, text: str) -> None:
        width = max(20, self._console.width - 50)
        short = text if len(text) <= width else f"{text[: width - 1]}…"
        self._bar.update(self._task, description=escape(short))
        if text != self._state:
            self._state, self._since = text, self._clock()

    def _say(self, line: str, style: str = "", styled: int | None = None) -> None:
        """Print a line whose beginning has a style, and begin to be silent."""
        text = Text(line)
        if style:
            text.stylize(style, 0, styled)
        self._console.print(text, highlight=False)
        self._told, self._spoke = self._state, self._clock()
