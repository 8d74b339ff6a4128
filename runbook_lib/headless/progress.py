"""Show a run while it happens, by following its evidence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from runbook_lib.base import evidence, wait
from runbook_lib.headless.run import Result, StepResult
from runbook_lib.lifecycle import runs

_INTERVAL = 0.1
_NO_LIMIT = float("inf")

_PHASES = {
    "step-planned": "gate",
    "step-approved": "applying",
    "step-applied": "verifying",
}
"""What a step does next after an event."""

_STYLES = {"verified": "green", "planned": "cyan", "failed": "red", "not approved": "yellow"}


@contextmanager
def follow(folder: Path, total: int, console: Console) -> Iterator[None]:
    """Show notebooks and steps as they come, until the block ends.

    Args:
        folder: The run's folder.
        total: How many steps there are.
        console: A terminal gets a bar with what is being waited for; a file a line a step.
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
        view = _View(console, bar, total)

        def observe() -> wait.State:
            last = ended.is_set()
            view.show_new(folder / runs.EVIDENCE)
            return wait.State(last, "")

        def watch() -> None:
            wait.until(
                "the run to end",
                observe,
                timeout=_NO_LIMIT,
                interval=_INTERVAL,
                sleep=ended.wait,
            )

        follower = threading.Thread(target=watch, name="follow-evidence", daemon=True)
        follower.start()
        try:
            yield
        finally:
            ended.set()
            follower.join()


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


def changed_text(step: StepResult) -> str:
    """Say how much a step changed."""
    if step.changed:
        return "1 change" if len(step.changed) == 1 else f"{len(step.changed)} changes"
    return "nothing" if step.outcome == "verified" else ""


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
        return "Plan mode: nothing was changed."
    changed = sum(bool(step.changed) for step in result.steps)
    if changed == 0:
        return f"All {len(result.steps)} steps verified, 0 changed: everything was in place."
    return f"All {len(result.steps)} steps verified, {changed} changed."


class _View:
    """Turns evidence into lines and the state of a bar."""

    def __init__(self, console: Console, bar: Progress, total: int) -> None:
        self._console = console
        self._bar = bar
        self._task = bar.add_task("starting", total=total)
        self._seen = 0
        self._size = 0

    def show_new(self, path: Path) -> None:
        """Show the events that were recorded since the last time."""
        size = path.stat().st_size if path.exists() else 0
        if size == self._size:
            return
        self._size = size
        events = evidence.read(path)
        for event in events[self._seen :]:
            self._show(event)
        self._seen = len(events)

    def _show(self, event: dict[str, Any]) -> None:
        kind, step = event["event"], event.get("step", "")
        if kind == "notebook-started":
            self._console.print(f"[bold]{event['notebook']}[/]", highlight=False)
            self._describe(event["notebook"])
        elif kind == "waiting":
            self._describe(f"{step}: {event['state']}")
        elif kind in _PHASES:
            self._describe(f"{step}: {_PHASES[kind]}")
        if kind == "step-planned" and event.get("plan_only"):
            self._line("○", "cyan", step, event["summary"])
        elif kind == "step-verified":
            changed = ", ".join(event["changed"]) or "nothing to change"
            self._line("✓", "green", step, f"verified; {changed}")
        elif kind == "step-failed":
            self._line("✗", "red", step, f"{event['phase']} failed: {event['error']}")

    def _line(self, mark: str, style: str, step: str, text: str) -> None:
        self._console.print(f"  [{style}]{mark}[/] {escape(f'{step}: {text}')}", highlight=False)
        self._bar.advance(self._task)

    def _describe(self, text: str) -> None:
        width = max(20, self._console.width - 50)
        short = text if len(text) <= width else f"{text[: width - 1]}…"
        self._bar.update(self._task, description=escape(short))
