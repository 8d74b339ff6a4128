"""The gate approves exactly one plan on exactly one cluster, and only what the operator covers."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runbook_lib.base.errors import NotApproved, PlanChanged
from runbook_lib.lifecycle.approvals import Approvals, GateAnswer
from runbook_lib.lifecycle.gate import APPROVE_VARIABLE, Gate, operator
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.lifecycle.target import Target
from tests.unit.samples import LAB, PRODUCTION

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CHANGE = Change.of_text("Namespace xnat", "change", "+label")


def gate(target: Target, approve: str | None = None) -> Gate:
    environ = {} if approve is None else {APPROVE_VARIABLE: approve}
    return Gate(target, Approvals(), environ=environ, now=lambda: NOON)


def plan_for(target: Target) -> Plan:
    return Plan("label", target.uid, (CHANGE,))


@pytest.mark.parametrize(
    ("target", "approve", "verdict", "reason"),
    [
        (LAB, None, "approved", "A lab needs no approval"),
        (LAB, "lab-default", "approved", "names lab-default"),
        (LAB, "none", "not approved", "approves nothing"),
        (LAB, "prod", "not approved", "names 'prod', and this is 'lab-default'"),
        (PRODUCTION, None, "not approved", "is not set, and prod is not a lab"),
        (PRODUCTION, "", "not approved", "is not set, and prod is not a lab"),
        (PRODUCTION, "none", "not approved", "approves nothing"),
        (PRODUCTION, "Prod", "not approved", "names 'Prod', and this is 'prod'"),
        (PRODUCTION, "prod", "approved", "names prod"),
    ],
)
def test_the_operators_policy_decides(
    target: Target, approve: str | None, verdict: str, reason: str
) -> None:
    decision = gate(target, approve).decide(plan_for(target))
    assert decision.verdict == verdict
    assert reason in decision.reason


def test_an_approval_says_who_how_when_and_for_what() -> None:
    plan = plan_for(PRODUCTION)
    approval = gate(PRODUCTION, "prod").decide(plan).approval
    assert approval is not None
    assert approval.answer is GateAnswer.APPROVED
    assert approval.how == "RUNBOOK_APPROVE names prod: whatever the plan of each step is by then."
    assert approval.at == NOON
    assert "@" in approval.by


def test_what_was_approved_may_be_applied_again_and_again() -> None:
    opened, plan = gate(PRODUCTION, "prod"), plan_for(PRODUCTION)
    opened.decide(plan)
    assert opened.require(plan) == opened.require(plan)


def test_without_a_decision_nothing_is_approved() -> None:
    with pytest.raises(NotApproved, match="label: the plan for lab-default is not approved"):
        gate(LAB).require(plan_for(LAB))


def test_what_is_not_approved_says_how_to_approve() -> None:
    closed = gate(PRODUCTION)
    closed.decide(plan_for(PRODUCTION))
    with pytest.raises(NotApproved, match="run with --approve prod"):
        closed.require(plan_for(PRODUCTION))


def test_another_plan_voids_the_approval_for_good() -> None:
    opened, plan = gate(LAB), plan_for(LAB)
    opened.decide(plan)
    other = replace(plan, changes=(CHANGE, CHANGE))
    with pytest.raises(PlanChanged, match="no longer the one that was approved"):
        opened.require(other)
    with pytest.raises(NotApproved):
        opened.require(plan)


def test_an_approval_does_not_hold_on_another_cluster() -> None:
    opened, plan = gate(LAB), plan_for(LAB)
    opened.decide(plan)
    with pytest.raises(PlanChanged):
        opened.require(replace(plan, target_uid="uid-9"))


def test_an_approval_does_not_hold_for_another_step() -> None:
    opened, plan = gate(LAB), plan_for(LAB)
    opened.decide(plan)
    with pytest.raises(NotApproved):
        opened.require(replace(plan, step="restart"))


def test_a_new_decision_replaces_the_earlier_one() -> None:
    opened, plan = gate(LAB), plan_for(LAB)
    opened.decide(plan)
    opened.decide(replace(plan, changes=()))
    with pytest.raises(NotApproved):
        opened.require(plan)


def test_a_policy_that_is_taken_back_approves_nothing_any_more() -> None:
    environ = {APPROVE_VARIABLE: "prod"}
    opened = Gate(PRODUCTION, Approvals(), environ=environ)
    plan = plan_for(PRODUCTION)
    opened.decide(plan)
    environ[APPROVE_VARIABLE] = "none"
    with pytest.raises(NotApproved, match="approves nothing"):
        opened.require(plan)


def test_an_empty_plan_needs_no_approval() -> None:
    decision = gate(PRODUCTION).decide(Plan("label", PRODUCTION.uid))
    assert decision.verdict == "not needed"
    assert decision.approval is None


def test_an_operator_without_a_name_is_known_by_the_user_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a container that was given an id of its own choice."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert operator().startswith("4000000@")
