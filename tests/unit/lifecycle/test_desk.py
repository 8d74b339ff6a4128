from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runbook_lib.lifecycle.desk import Answer, Desk, Ruling
from runbook_lib.lifecycle.plan import Change, Plan

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PLAN = Plan("strict", "uid-1", (Change.of_text("Deployment a/b", "restart", "why"),))
CHANGED = replace(PLAN, changes=(Change.of_text("Deployment a/c", "restart", "why"),))
ELSEWHERE = replace(PLAN, target_uid="uid-2")
LATER = replace(PLAN, step="exception")


def ruling(answer: Answer) -> Ruling:
    return Ruling(answer, "me@here", AT)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_nothing_is_decided_about_a_plan_that_was_just_put() -> None:
    desk = Desk()
    case, void = desk.put(PLAN)
    assert (case.ruling, void, desk.ruling(PLAN), desk.asks(PLAN)) == (None, None, None, True)


def test_a_ruling_holds_for_exactly_one_plan_on_one_cluster(desk: Desk) -> None:
    desk.rule(desk.put(PLAN)[0], ruling(Answer.APPROVED))
    assert desk.ruling(PLAN) == ruling(Answer.APPROVED)
    assert [desk.ruling(plan) for plan in (CHANGED, ELSEWHERE, LATER)] == [None] * 3


@pytest.mark.parametrize("answer", [Answer.APPROVED, Answer.SKIPPED])
def test_putting_the_same_plan_again_keeps_the_ruling(desk: Desk, answer: Answer) -> None:
    desk.rule(desk.put(PLAN)[0], ruling(answer))
    case, void = desk.put(PLAN)
    assert (case.ruling, void) == (ruling(answer), None)


def test_putting_another_plan_of_the_step_voids_the_ruling_and_tells(desk: Desk) -> None:
    desk.rule(desk.put(PLAN)[0], ruling(Answer.APPROVED))
    case, void = desk.put(CHANGED)
    assert (case.ruling, void) == (None, ruling(Answer.APPROVED))
    assert desk.put(PLAN)[0].ruling is None


def test_a_stop_holds_until_the_plan_of_the_same_step_is_put_again(desk: Desk) -> None:
    case, _ = desk.put(PLAN)
    desk.rule(case, ruling(Answer.STOPPED))
    desk.put(LATER)
    assert desk.stopped is case
    again, void = desk.put(PLAN)
    assert (desk.stopped, again.ruling, void) == (None, None, None)


def test_a_stop_is_not_taken_back_by_another_decision(desk: Desk) -> None:
    case, _ = desk.put(PLAN)
    desk.rule(case, ruling(Answer.STOPPED))
    desk.rule(case, ruling(Answer.APPROVED))
    assert desk.stopped is case
    assert desk.ruling(PLAN) == ruling(Answer.STOPPED)


def test_a_case_that_was_put_again_takes_no_decision(desk: Desk) -> None:
    old, _ = desk.put(PLAN)
    desk.put(PLAN)
    desk.rule(old, ruling(Answer.STOPPED))
    assert (desk.ruling(PLAN), desk.stopped) == (None, None)


def test_an_approval_is_used_up_when_its_plan_was_applied(desk: Desk) -> None:
    case, _ = desk.put(PLAN)
    desk.rule(case, ruling(Answer.APPROVED))
    desk.finish(PLAN, "it was applied")
    assert (case.closed, desk.ruling(PLAN)) == ("it was applied", None)
    assert desk.put(PLAN)[0].ruling is None


def test_void_drops_an_approval_of_another_plan_once(desk: Desk) -> None:
    desk.rule(desk.put(PLAN)[0], ruling(Answer.APPROVED))
    assert desk.void(PLAN) is None
    assert desk.void(CHANGED) == ruling(Answer.APPROVED)
    assert desk.void(CHANGED) is None
    assert desk.ruling(PLAN) is None


def test_those_who_show_a_case_hear_of_decisions_and_of_its_end(desk: Desk) -> None:
    case, _ = desk.put(PLAN)
    heard: list[tuple[str, str]] = []
    case.listeners.append(lambda: heard.append((str(case.ruling), case.closed)))
    desk.rule(case, ruling(Answer.SKIPPED))
    desk.put(PLAN)
    said = "skipped by me@here at 2026-03-04 05:06:07 UTC"
    assert heard == [(said, ""), (said, "this gate was run again")]
