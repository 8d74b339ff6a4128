"""Wait for a state, with a limit and a reason. The only place that polls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from runbook_lib.base.errors import WaitFailed, WaitTimeout


@dataclass(frozen=True)
class State:
    """What an observation found.

    Attributes:
        done: What was waited for is there.
        text: The current state in words, with the reason if it is stuck.
        failed: It cannot happen any more: stop waiting.
    """

    done: bool
    text: str
    failed: bool = False


@dataclass(frozen=True)
class Progress:
    """One look at what is waited for, for those who show it.

    Attributes:
        what: What is waited for.
        text: Its state in words.
        elapsed: Seconds waited so far.
        timeout: Seconds in all.
        ended: Empty while waiting goes on, then `done`, `failed` or `timed out`.
    """

    what: str
    text: str
    elapsed: float
    timeout: float
    ended: str = ""


_listeners: list[Callable[[Progress], None]] = []


def shown_by(listener: Callable[[Progress], None] | None) -> None:
    """Let every wait of this process be shown by `listener` alone; by none if None."""
    _listeners[:] = [] if listener is None else [listener]


def pause(seconds: float) -> None:
    """Hold back a retry after an error; to wait for a state, use `until`."""
    time.sleep(seconds)


def until(
    what: str,
    observe: Callable[[], State],
    *,
    timeout: float,
    interval: float = 0.2,
    successes: int = 1,
    on_change: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> State:
    """Observe until done `successes` times in a row.

    Args:
        what: What is waited for, as a noun phrase: it completes "waiting for ...".
        observe: Looks once, without blocking for long. What it raises goes to the caller.
        timeout: Seconds in all. There is always at least one observation.
        interval: Seconds between observations.
        successes: How many observations in a row must be done.
        on_change: Called with the state's text, first and whenever it differs.
        clock: Monotonic seconds.
        sleep: Pauses for at most so many seconds; may return early when something happened.

    Returns:
        The last state.

    Raises:
        WaitFailed: An observation says that it cannot happen any more.
        WaitTimeout: Time is up; the error shows the last state.
    """
    started = clock()
    in_a_row = 0
    shown: str | None = None

    def tell(state: State, ended: str = "") -> None:
        for listener in _listeners:
            listener(Progress(what, state.text, clock() - started, timeout, ended))

    while True:
        state = observe()
        if on_change is not None and state.text != shown:
            shown = state.text
            on_change(state.text)
        if state.failed:
            tell(state, WaitFailed.verdict)
            raise WaitFailed(what, state.text, clock() - started)
        in_a_row = in_a_row + 1 if state.done else 0
        if in_a_row >= successes:
            tell(state, "done")
            return state
        left = timeout - (clock() - started)
        if left <= 0:
            tell(state, WaitTimeout.verdict)
            raise WaitTimeout(what, state.text, clock() - started)
        tell(state)
        sleep(min(interval, left))
