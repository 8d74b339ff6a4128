"""The gate of a run that carries out what was reviewed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import NotApproved, PlanChanged
from runbook_lib.base.journal import Journal
from runbook_lib.lifecycle.approvals import Approvals
from runbook_lib.lifecycle.operators import OPERATOR_VARIABLE, Person, operator
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.lifecycle.review import files
from runbook_lib.lifecycle.review.gate import ReviewedGate
from tests.unit.doubles.steps import ALabel
from tests.unit.samples import LAB, lab_parameters

NOTEBOOK, ANA, BEN = "04_mutual_tls", Person("ana", "Ana"), Person("ben", "Ben")


def plan(text: str = "why", step: str = "strict") -> Plan:
    return Plan(step, LAB.uid, (Change.of_text("Deployment a/b", "restart", text),))


class Carrying:
    """A run that carries out what an earlier one has planned."""

    def __init__(self, folder: Path, person: Person = ANA, **approval: Any) -> None:
        self.reviewed, self.folder = folder / "reviewed", folder / "run"
        self.reviewed.mkdir(exist_ok=True)
        parameters = lab_parameters(approval=approval)
        files.write(self.reviewed, NOTEBOOK, parameters, plan())
        self.person, self.parameters = person, parameters
        self.now = datetime.now(UTC)

    def gate(self) -> ReviewedGate:
        rules, review = self.parameters.approval, files.read(self.reviewed)
        return ReviewedGate(
            *(LAB, Approvals(), review, self.folder),
            rules=rules,
            person=lambda: self.person,
            now=lambda: self.now,
        )

    def ask(self, now: Plan) -> str:
        """Ask, and let it be applied if it may."""
        gate = self.gate()
        journal = Journal(self.folder / "evidence.jsonl", run="r", notebook=NOTEBOOK)
        decision = gate.ask(now, ALabel(now.step, set()), journal)
        return f"{gate.require(now)}, {decision}"


def test_what_was_reviewed_is_approved_by_whoever_carries_it_out(tmp_path: Path) -> None:
    said = Carrying(tmp_path).ask(plan())
    assert said.startswith("approved by ana (Ana) at ")
    assert "The plan holds that was reviewed with run reviewed (plan " in said


@pytest.mark.parametrize(
    ("later", "reason"),
    [(timedelta(hours=2), "more than 1 hours ago"), (timedelta(hours=-2), "is yet to come")],
)
def test_plans_that_are_too_old_or_of_the_future_are_not_carried_out(
    tmp_path: Path, later: timedelta, reason: str
) -> None:
    run = Carrying(tmp_path, expires=1)
    assert run.ask(plan())
    run.now += later
    with pytest.raises(NotApproved, match=reason):
        run.ask(plan())


def test_a_difference_stops_the_step_and_is_shown(tmp_path: Path) -> None:
    with pytest.raises(PlanChanged, match=r"(?s)strict: .* is not the one .*\nwhy\n.*\nother"):
        Carrying(tmp_path).ask(plan("other"))


def test_a_step_that_was_not_reviewed_is_not_approved(tmp_path: Path) -> None:
    with pytest.raises(PlanChanged, match="run reviewed has planned no exception"):
        Carrying(tmp_path).ask(plan(step="exception"))


def test_two_persons_are_two_accounts(tmp_path: Path) -> None:
    run = Carrying(tmp_path, persons=2)
    with pytest.raises(NotApproved, match=r"2 persons .* and ana did"):
        run.ask(plan())
    files.approve(run.reviewed, ANA)
    with pytest.raises(NotApproved, match=r"2 persons .* and ana did"):
        run.ask(plan())
    assert files.approve(run.reviewed, BEN).approved_by == {"ana", "ben"}
    assert run.ask(plan()).startswith("approved by ana (Ana)")
    run.person = Person("", "somebody")
    assert run.ask(plan()).startswith("approved by somebody")


def test_an_approval_is_of_the_plans_that_were_there_then(tmp_path: Path) -> None:
    run = Carrying(tmp_path, persons=2)
    files.approve(run.reviewed, BEN)
    files.write(run.reviewed, NOTEBOOK, run.parameters, plan("other"))
    assert files.read(run.reviewed).approved_by == set()
    with pytest.raises(NotApproved, match="2 persons"):
        run.ask(plan("other"))


def test_whom_the_cluster_does_not_know_does_not_count(tmp_path: Path) -> None:
    run = Carrying(tmp_path, person=Person("", "somebody"), persons=2)
    files.approve(run.reviewed, BEN)
    with pytest.raises(NotApproved, match=r"2 persons .* and ben did"):
        run.ask(plan())
    with pytest.raises(NotApproved, match="does not say whose account this is"):
        files.approve(run.reviewed, run.person)


@pytest.mark.parametrize(
    "variable", [OPERATOR_VARIABLE, "JUPYTERHUB_USER", "GITHUB_ACTOR", "GITLAB_USER_LOGIN"]
)
def test_a_person_is_called_as_hub_pipeline_or_they_themselves_say(variable: str) -> None:
    assert operator({variable: "ana"}).startswith("ana@")
    assert operator({variable: "ana@example.com"}) == "ana@example.com"
    assert operator({OPERATOR_VARIABLE: "me", variable: "ana"}).startswith(
        "me@" if variable != OPERATOR_VARIABLE else "ana@"
    )
