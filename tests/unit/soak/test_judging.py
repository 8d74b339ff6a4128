"""What a soak lets pass, and what it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runbook_lib.lifecycle import Client, Interruption, Loss
from tests.soak.clients import NO_ANSWER, Attempt
from tests.soak.judging import Window, outages, unannounced

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AWAY = Interruption((Client.REST,), Loss.EVERYTHING, "no answer", "it is replaced", 10)
ONCE = Interruption((Client.REST,), Loss.UNFINISHED, "log in again", "sessions", 0)


def tried(second: float, problem: str = "", *losses: Loss, what: str = "GET") -> Attempt:
    began = NOON + timedelta(seconds=second)
    ended = began + timedelta(seconds=0.1)
    return Attempt(Client.REST, what, began, ended, problem, losses)


def window(*announced: Interruption) -> Window:
    return Window("restart", NOON, NOON + timedelta(seconds=30), announced)


def judged(*attempts: Attempt, of: Window) -> list[str]:
    return unannounced(outages(attempts), [of])


def test_what_was_announced_passes_for_twice_the_time() -> None:
    def lasting(seconds: float) -> list[str]:
        failing = [tried(second, "502", *NO_ANSWER) for second in (5, 5 + seconds / 2)]
        return judged(tried(4), *failing, tried(5 + seconds), of=window(AWAY))

    assert lasting(19) == []
    (said,) = lasting(22)
    assert "REST clients: GET: 502; 2 times, 22.0 s" in said


def test_what_was_not_announced_does_not_pass() -> None:
    failing = tried(5, "502", *NO_ANSWER)
    assert judged(failing, tried(6), of=window()) != []
    assert judged(failing, tried(6), of=window(ONCE)) != []
    assert judged(tried(45, "502", *NO_ANSWER), tried(46), of=window(AWAY)) != []
    assert judged(tried(5, "403"), tried(6), of=window(AWAY, ONCE)) != []


def test_what_fails_once_has_to_succeed_at_once() -> None:
    lost = tried(5, "logged out", Loss.UNFINISHED)
    assert judged(lost, tried(6), of=window(ONCE)) == []
    assert judged(lost, tried(7, "logged out", Loss.UNFINISHED), tried(9), of=window(ONCE)) != []


def test_one_interruption_may_follow_the_other() -> None:
    failing = [tried(5, "502", *NO_ANSWER), tried(15, "logged out", Loss.UNFINISHED)]
    assert judged(*failing, tried(16), of=window(AWAY, ONCE)) == []
    assert judged(*failing, tried(16), of=window(AWAY)) != []


def test_outages_of_different_requests_are_told_apart() -> None:
    found = [*outages([tried(1, "x"), tried(2, what="PUT"), tried(3, "x"), tried(4)])]
    assert [len(each.attempts) for each in found] == [2]
