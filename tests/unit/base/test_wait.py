from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from runbook_lib.base.errors import RunbookError, WaitFailed, WaitTimeout
from runbook_lib.base.wait import State, until


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


class Observations:
    """Yields the given states, then repeats the last."""

    def __init__(self, *states: State) -> None:
        self.states = list(states)
        self.count = 0

    def __call__(self) -> State:
        self.count += 1
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def states(text: str) -> Iterable[State]:
    return [State(letter == "y", letter) for letter in text]


def test_it_returns_at_the_first_done_state_without_sleeping() -> None:
    clock = Clock()
    state = State(True, "2/2")
    assert until("x", lambda: state, timeout=1, clock=clock, sleep=clock.sleep) is state
    assert clock.sleeps == []


def test_it_sleeps_the_interval_between_observations() -> None:
    clock = Clock()
    until("x", Observations(*states("nny")), timeout=9, interval=2, clock=clock, sleep=clock.sleep)
    assert clock.sleeps == [2, 2]


def test_successes_must_be_in_a_row() -> None:
    clock = Clock()
    seen = Observations(*states("yynyyy"))
    until("x", seen, timeout=9, interval=1, successes=3, clock=clock, sleep=clock.sleep)
    assert seen.count == 6


def test_running_out_of_time_names_the_last_state_and_the_time() -> None:
    clock = Clock()
    with pytest.raises(
        WaitTimeout,
        match=re.escape("waiting for istiod: timed out after 5.0 s; last seen: 0/1"),
    ) as caught:
        until(
            "istiod",
            Observations(State(False, "0/1")),
            timeout=5,
            interval=2,
            clock=clock,
            sleep=clock.sleep,
        )
    assert caught.value.elapsed == 5
    assert clock.sleeps == [2, 2, 1]


def test_there_is_an_observation_at_the_very_end() -> None:
    clock = Clock()
    assert until(
        "x", lambda: State(clock.now >= 105, ""), timeout=5, clock=clock, sleep=clock.sleep
    ).done


def test_a_timeout_of_zero_still_observes_once() -> None:
    assert until("x", lambda: State(True, "there"), timeout=0).text == "there"


def test_a_state_that_failed_ends_the_wait_early_with_its_reason() -> None:
    clock = Clock()
    with pytest.raises(WaitFailed, match=r"failed after 0.0 s; last seen: ErrImagePull") as caught:
        until(
            "x",
            lambda: State(False, "ErrImagePull", failed=True),
            timeout=60,
            clock=clock,
            sleep=clock.sleep,
        )
    assert not isinstance(caught.value, WaitTimeout)


def test_changes_are_reported_once_each() -> None:
    clock = Clock()
    shown: list[str] = []
    until(
        "x",
        Observations(*states("aabby")),
        timeout=9,
        on_change=shown.append,
        clock=clock,
        sleep=clock.sleep,
    )
    assert shown == ["a", "b", "y"]


def test_an_error_while_observing_goes_to_the_caller() -> None:
    def observe() -> State:
        raise RunbookError("gone")

    with pytest.raises(RunbookError, match="gone"):
        until("x", observe, timeout=1)
