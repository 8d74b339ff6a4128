"""Show in a notebook what is being waited for, in one output that changes."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from runbook_lib.base import Progress, style
from runbook_lib.notebook.outputs import LiveOutput

PATIENCE = 0.5
"""Seconds for which a wait need not be shown: it would only flicker."""

_EVERY = 0.5
"""Seconds between updates while nothing but the time changes."""

_STYLE = style.sheet("wait")


class WaitingView:
    """All waits of one cell: those that have ended, and the current one with its state."""

    def __init__(self, cell: Callable[[], object]) -> None:
        """Nothing is shown before something is waited for.

        Args:
            cell: Identifies the cell that is running; each cell gets an output of its own.
        """
        self._cell = cell
        self._running: object = None
        self._output = LiveOutput()
        self._ended: list[Progress] = []
        self._last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Take note of one look at what is waited for."""
        if progress.ended:
            if progress.elapsed >= PATIENCE:
                self._begin_in(self._cell())
                self._ended.append(progress)
                self._show([])
            self._last = None
            return
        if progress.elapsed < PATIENCE or not self._is_news(progress):
            return
        self._begin_in(self._cell())
        self._last = progress
        self._show([progress])

    def _is_news(self, progress: Progress) -> bool:
        last = self._last
        if last is None or (last.what, last.text) != (progress.what, progress.text):
            return True
        return not 0 <= progress.elapsed - last.elapsed < _EVERY

    def _begin_in(self, cell: object) -> None:
        if cell != self._running:
            self._running, self._output, self._ended = cell, LiveOutput(), []

    def _show(self, current: list[Progress]) -> None:
        shown = [*self._ended, *current]
        text = "\n".join(map(_line, shown))
        self._output.show(text, _STYLE + "".join(map(_html, shown)))


def _line(progress: Progress) -> str:
    return f"{_headline(progress)}: {progress.text}"


def _headline(progress: Progress) -> str:
    spent = f"{progress.elapsed:.0f} s"
    if progress.ended == "done":
        return f"✓ Waited {spent} for {progress.what}"
    if progress.ended:
        return f"✗ Waited {spent} for {progress.what}, which {progress.ended}"
    return f"… Waiting for {progress.what}, {spent} of at most {progress.timeout:.0f} s"


def _html(progress: Progress) -> str:
    kind = {"": "", "done": " rb-done"}.get(progress.ended, " rb-failed")
    return (
        f"<div class='rb-wait{kind}'>{escape(_headline(progress))}<br>"
        f"<small>{escape(progress.text)}</small></div>"
    )
