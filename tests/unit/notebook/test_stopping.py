"""Stop and Skip mean what they say at any moment, also while a step is applied, and afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from runbook_lib.base.errors import NotApproved
from runbook_lib.cluster.client import Cluster
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.events import Stopped
from runbook_lib.lifecycle.lifecycle import LifeCycle
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.notebook.asking import Question
from runbook_lib.notebook.widget import GateView
from tests.unit.doubles.asking import Kernel
from tests.unit.doubles.steps import ALabel, Pinned
from tests.unit.samples import LAB, lab_parameters


class Session:
    """Two steps in a notebook, and a person who has approved both of them."""

    def __init__(self, folder: Path) -> None:
        self.kernel = Kernel(folder)
        self.cluster: set[str] = set()
        journal = self.kernel.journal
        context = Context(lab_parameters(), LAB, cast("Cluster", Pinned()), journal)
        self.steps = [ALabel("one", self.cluster), ALabel("two", self.cluster)]
        self.one = LifeCycle(self.steps[0], context, self.kernel.gate)
        self.two = LifeCycle(self.steps[1], context, self.kernel.gate, [self.one])

    def approved(self, cycle: LifeCycle) -> Question:
        question = self.ask(cycle)
        question.approve()
        return question

    def ask(self, cycle: LifeCycle) -> Question:
        cycle.plan()
        question = cycle.gate()
        assert isinstance(question, Question)
        return question


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def test_a_stop_while_a_step_is_applied_lets_it_end_and_nothing_follow(session: Session) -> None:
    first = session.approved(session.one)
    session.steps[0].applying = first.stop
    session.one.apply()
    assert session.one.verify().ok
    assert "Nothing more is applied until this gate is run again." in first.status
    session.approved(session.two)
    with pytest.raises(NotApproved, match=r"two is not applied: stopped by .* at the gate of one"):
        session.two.apply()
    assert session.cluster == {"one"}
    (stopped,) = (e for e in session.kernel.recorded() if isinstance(e, Stopped))
    assert stopped.digest == first.plan.digest


def test_a_person_lifts_a_stop_by_running_that_gate_again(session: Session) -> None:
    first = session.approved(session.one)
    session.steps[0].applying = first.stop
    session.one.apply()
    session.one.plan()
    session.one.gate()
    session.one.apply()
    session.one.verify()
    session.approved(session.two)
    session.two.apply()
    assert session.cluster == {"one", "two"}


def test_a_stop_that_arrives_after_its_step_was_applied_holds_as_well(session: Session) -> None:
    first = session.approved(session.one)
    session.one.apply()
    session.one.verify()
    first.stop()
    assert "it was applied. Nothing more is applied until" in first.status
    session.approved(session.two)
    with pytest.raises(NotApproved, match="at the gate of one"):
        session.two.apply()


def test_while_a_step_is_applied_approve_and_skip_decide_nothing(session: Session) -> None:
    first = session.approved(session.one)
    seen: list[str] = []

    def click() -> None:
        first.skip()
        seen.append(first.status)
        assert not first.case.open

    session.steps[0].applying = click
    session.one.apply()
    assert session.one.outcome is StepOutcome.APPLIED
    assert "It is being applied. Stop lets nothing follow it." in seen[0]
    assert not session.kernel.gate.skipped(first.plan)


def test_a_stop_between_the_question_and_the_change_is_in_time(session: Session) -> None:
    first = session.approved(session.one)
    gate = session.kernel.gate
    first.stop()
    with pytest.raises(NotApproved, match="stopped by"), gate.carrying_out(first.plan):
        session.cluster.add("never")
    assert session.cluster == set()


def test_the_buttons_of_a_step_that_is_applied_leave_stop_alone(session: Session) -> None:
    first = session.approved(session.one)
    view = GateView(first)
    seen: list[tuple[bool, bool]] = []
    session.steps[0].applying = lambda: seen.append((view._approve.disabled, view._skip.disabled))
    session.one.apply()
    assert seen == [(True, True)]
    session.one.verify()
    assert view._approve.comm is None
    view._stop.click()
    session.approved(session.two)
    with pytest.raises(NotApproved, match="at the gate of one"):
        session.two.apply()
