from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runbook_lib.base.errors import NotApproved, PlanChanged
from runbook_lib.lifecycle.approvals import Approvals, GateAnswer, Ruling
from runbook_lib.lifecycle.plan import Change, Plan

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PLAN = Plan("strict", "uid-1", (Change.of_text("Deployment a/b", "restart", "why"),))
CHANGED = replace(PLAN, changes=(Change.of_text("Deployment a/c", "restart", "why"),))
ELSEWHERE = replace(PLAN, target_uid="uid-2")
LATER = replace(PLAN, step="exception")


def ruling(answer: GateAnswer) -> Ruling:
    return Ruling(answer, "me@here", "pressed", AT)


@pytest.fixture
def approvals() -> Approvals:
    return Approvals()


def test_nothing_is_decided_about_a_plan_that_was_just_put() -> None:
    approvals = Approvals()
    case, void = approvals.put(PLAN)
    assert (case.ruling, void, approvals.ruling(PLAN), approvals.asks(PLAN)) == (
        None,
        None,
        None,
        True,
    )


def test_a_ruling_holds_for_exactly_one_plan_on_one_cluster(approvals: Approvals) -> None:
    approvals.rule(approvals.put(PLAN)[0], ruling(GateAnswer.APPROVED))
    assert approvals.ruling(PLAN) == ruling(GateAnswer.APPROVED)
    assert [approvals.ruling(plan) for plan in (CHANGED, ELSEWHERE, LATER)] == [None] * 3


@pytest.mark.parametrize("answer", [GateAnswer.APPROVED, GateAnswer.SKIPPED])
def test_putting_the_same_plan_again_keeps_the_ruling(
    approvals: Approvals, answer: GateAnswer
) -> None:
    approvals.rule(approvals.put(PLAN)[0], ruling(answer))
    case, void = approvals.put(PLAN)
    assert (case.ruling, void) == (ruling(answer), None)


def test_putting_another_plan_of_the_step_voids_the_ruling_and_tells(approvals: Approvals) -> None:
    approvals.rule(approvals.put(PLAN)[0], ruling(GateAnswer.APPROVED))
    case, void = approvals.put(CHANGED)
    assert (case.ruling, void) == (None, ruling(GateAnswer.APPROVED))
    assert approvals.put(PLAN)[0].ruling is None


def is_stopped(approvals: Approvals) -> bool:
    try:
        approvals.require(LATER)
    except NotApproved as error:
        return "stopped by me@here" in error.cause and "at the gate of strict" in error.cause
    return False


def test_a_stop_holds_until_the_plan_of_the_same_step_is_put_again(approvals: Approvals) -> None:
    case, _ = approvals.put(PLAN)
    approvals.rule(case, ruling(GateAnswer.STOPPED))
    approvals.put(LATER)
    assert is_stopped(approvals)
    again, void = approvals.put(PLAN)
    assert (is_stopped(approvals), again.ruling, void) == (False, None, None)


def test_a_stop_is_not_taken_back_by_another_decision(approvals: Approvals) -> None:
    case, _ = approvals.put(PLAN)
    approvals.rule(case, ruling(GateAnswer.STOPPED))
    approvals.rule(case, ruling(GateAnswer.APPROVED))
    assert is_stopped(approvals)
    assert approvals.ruling(PLAN) == ruling(GateAnswer.STOPPED)


def test_a_case_that_was_put_again_takes_no_decision(approvals: Approvals) -> None:
    old, _ = approvals.put(PLAN)
    approvals.put(PLAN)
    approvals.rule(old, ruling(GateAnswer.STOPPED))
    assert (approvals.ruling(PLAN), is_stopped(approvals)) == (None, False)


def test_an_approval_is_used_up_when_its_plan_was_applied(approvals: Approvals) -> None:
    case, _ = approvals.put(PLAN)
    approvals.rule(case, ruling(GateAnswer.APPROVED))
    approvals.close(PLAN, "it was applied")
    assert (case.closed, approvals.ruling(PLAN)) == ("it was applied", None)
    assert approvals.put(PLAN)[0].ruling is None


@pytest.mark.parametrize("other", [CHANGED, ELSEWHERE])
def test_an_approval_of_another_plan_is_void_once_and_for_all(
    approvals: Approvals, other: Plan
) -> None:
    case, _ = approvals.put(PLAN)
    approvals.rule(case, ruling(GateAnswer.APPROVED))
    assert approvals.require(PLAN) == ruling(GateAnswer.APPROVED)
    with pytest.raises(PlanChanged, match=r"no longer the one that was approved by me@here at"):
        approvals.require(other)
    assert case.closed == "the plan has changed since, so this decision is void"
    assert (approvals.require(other), approvals.require(PLAN)) == (None, None)


@pytest.mark.parametrize("answer", [None, GateAnswer.SKIPPED])
def test_only_an_approval_is_one(approvals: Approvals, answer: GateAnswer | None) -> None:
    case, _ = approvals.put(PLAN)
    if answer:
        approvals.rule(case, ruling(answer))
    assert approvals.require(PLAN) is None


def test_a_stop_outweighs_an_approval(approvals: Approvals) -> None:
    approvals.rule(approvals.put(LATER)[0], ruling(GateAnswer.APPROVED))
    approvals.rule(approvals.put(PLAN)[0], ruling(GateAnswer.STOPPED))
    assert is_stopped(approvals)
    approvals.put(PLAN)
    assert approvals.require(LATER) == ruling(GateAnswer.APPROVED)


def test_those_who_show_a_case_hear_of_decisions_and_of_its_end(approvals: Approvals) -> None:
    case, _ = approvals.put(PLAN)
    heard: list[tuple[str, str]] = []
    case.listeners.append(lambda: heard.append((str(case.ruling), case.closed)))
    approvals.rule(case, ruling(GateAnswer.SKIPPED))
    approvals.put(PLAN)
    said = "skipped by me@here at 2026-03-04 05:06:07 UTC"
    assert heard == [(said, ""), (said, "this gate was run again")]
