from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runbook_lib.base.errors import NotApproved, PlanChanged, RunbookError
from runbook_lib.lifecycle.approvals import GateAnswer
from runbook_lib.lifecycle.events import ApprovalVoid, StepApproved, StepSkipped, Stopped
from runbook_lib.lifecycle.gate import APPROVE_VARIABLE, operator
from runbook_lib.notebook.asking import HOW, Question
from tests.unit.doubles.asking import AT, CHANGED, LATER, PLAN, Kernel, Strict
from tests.unit.samples import LAB, PRODUCTION


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_a_lab_is_asked_about_too_when_somebody_is_there(kernel: Kernel) -> None:
    question = kernel.ask()
    assert question.approval is None
    with pytest.raises(NotApproved, match=r"^strict is not approved yet: decide at its gate") as no:
        kernel.gate.require(PLAN)
    assert "\n" not in str(no.value)


def test_an_approval_holds_for_the_plan_that_was_shown(kernel: Kernel) -> None:
    kernel.ask().approve()
    approval = kernel.gate.require(PLAN)
    assert (approval.answer, approval.by, approval.at) == (GateAnswer.APPROVED, operator(), AT)


def test_an_approval_outlives_the_cell_that_opens_the_runbook(kernel: Kernel) -> None:
    kernel.ask().approve()
    kernel.gate = kernel.open()
    assert kernel.ask().approval == kernel.gate.require(PLAN)


def test_an_approval_of_another_plan_is_void_and_apply_says_so(kernel: Kernel) -> None:
    kernel.ask().approve()
    with pytest.raises(PlanChanged, match=r"is void; it is now: restart Deployment a/c"):
        kernel.gate.require(CHANGED)
    with pytest.raises(NotApproved):
        kernel.gate.require(PLAN)


def test_the_gate_says_that_an_earlier_approval_is_void_and_records_it(kernel: Kernel) -> None:
    kernel.ask().approve()
    question = kernel.ask(CHANGED)
    assert question.approval is None
    assert "The plan has changed." in str(question)
    assert f"approved by {operator()}" in question.warnings[0]
    assert isinstance(kernel.recorded()[-1], ApprovalVoid)


def test_who_when_and_what_is_recorded(kernel: Kernel) -> None:
    question = kernel.ask()
    question.approve()
    question.skip()
    question.stop()
    digest, by = PLAN.digest, operator()
    assert kernel.recorded() == [
        StepApproved(digest, by, HOW, AT),
        StepSkipped(digest, by, AT),
        Stopped(digest, by, AT),
    ]


def test_no_decision_counts_that_could_not_be_recorded(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.journal.path.mkdir()
    with pytest.raises(RunbookError, match="cannot write evidence"):
        kernel.ask().approve()
    with pytest.raises(NotApproved):
        kernel.gate.require(PLAN)


def test_pressing_a_button_twice_records_one_decision(kernel: Kernel) -> None:
    question = kernel.ask()
    question.approve()
    question.approve()
    assert len(kernel.recorded()) == 1


def test_a_gate_that_was_run_again_leaves_its_old_buttons_without_effect(kernel: Kernel) -> None:
    old = kernel.ask()
    kernel.ask()
    old.approve()
    assert kernel.recorded() == []
    with pytest.raises(NotApproved):
        kernel.gate.require(PLAN)


def test_an_approval_is_used_up_by_the_apply(kernel: Kernel) -> None:
    kernel.ask().approve()
    kernel.gate.applied(PLAN)
    with pytest.raises(NotApproved, match="run its plan and gate cells first"):
        kernel.gate.require(PLAN)


def test_skip_leaves_out_exactly_this_plan(kernel: Kernel) -> None:
    kernel.ask().skip()
    assert kernel.gate.skipped(PLAN)
    assert not kernel.gate.skipped(CHANGED)
    with pytest.raises(NotApproved):
        kernel.gate.require(PLAN)


def test_stop_holds_for_every_step_even_an_approved_one(kernel: Kernel) -> None:
    kernel.ask(LATER).approve()
    kernel.ask().stop()
    with pytest.raises(NotApproved, match=r"exception is not applied: stopped by .* run that gate"):
        kernel.gate.require(LATER)
    kernel.ask()
    assert kernel.gate.require(LATER).answer is GateAnswer.APPROVED


def test_stop_outweighs_the_policy_in_the_environment(kernel: Kernel) -> None:
    kernel.ask().stop()
    kernel.environ[APPROVE_VARIABLE] = LAB.name
    with pytest.raises(NotApproved, match="stopped by"):
        kernel.gate.require(LATER)


def test_production_is_approved_by_typing_its_name(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, PRODUCTION)
    question = kernel.ask()
    for typed in ("", "Prod", LAB.name):
        with pytest.raises(NotApproved, match="type its name"):
            question.approve(typed)
    assert kernel.recorded() == []
    question.approve(" prod ")
    assert kernel.gate.require(PLAN).answer is GateAnswer.APPROVED


def test_nothing_is_asked_when_there_is_nothing_to_change(kernel: Kernel) -> None:
    decision = kernel.gate.ask(replace(PLAN, changes=()), Strict(), kernel.journal)
    assert not isinstance(decision, Question)
    assert decision.verdict == "not needed"


@pytest.mark.parametrize(("value", "verdict"), [(LAB.name, "approved"), ("none", "not approved")])
def test_the_operators_policy_decides_alone_where_there_is_one(
    tmp_path: Path, value: str, verdict: str
) -> None:
    kernel = Kernel(tmp_path, **{APPROVE_VARIABLE: value})
    decision = kernel.gate.ask(PLAN, Strict(), kernel.journal)
    assert not isinstance(decision, Question)
    assert decision.verdict == verdict


def test_the_text_names_target_risk_undo_and_what_to_do_without_buttons(kernel: Kernel) -> None:
    text = str(kernel.ask(PLAN, "mind the gap"))
    for part in (LAB.name, LAB.server, LAB.uid, "users see 502", "be lenient again"):
        assert part in text
    assert "! mind the gap" in text
    assert "restart Deployment a/b" in text
    assert f"%env {APPROVE_VARIABLE}={LAB.name}" in text


def test_once_applied_the_text_says_who_approved_and_offers_nothing(kernel: Kernel) -> None:
    question = kernel.ask()
    question.approve()
    kernel.gate.applied(PLAN)
    assert f"Approved by {operator()} at 2026-03-04 05:06:07 UTC; it was applied." in str(question)
    assert "No buttons here?" not in str(question)
