"""Steps in a notebook with a person in front of it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from runbook_lib.base.errors import NotApproved, PlanChanged
from runbook_lib.base.journal import Journal, read
from runbook_lib.cluster.client import Cluster
from runbook_lib.lifecycle.approvals import Approvals
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.events import StepApproved
from runbook_lib.lifecycle.gate import GateDecision
from runbook_lib.lifecycle.lifecycle import LifeCycle
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.notebook.asking import AskingGate, Question
from tests.unit.doubles.steps import ALabel, Pinned
from tests.unit.samples import LAB, lab_parameters


class Notebook:
    """Two steps, and what running all cells does."""

    def __init__(self, folder: Path, *, mode: str = "apply") -> None:
        self.cluster: set[str] = set()
        self.approvals = Approvals()
        self.context = Context(
            lab_parameters(mode=mode),
            LAB,
            cast("Cluster", Pinned()),
            Journal(folder / "evidence.jsonl", run="r1", notebook="n"),
        )
        self.open()

    def open(self) -> None:
        """Run the first cell: new objects, the same kernel."""
        gate = AskingGate(LAB, self.approvals, environ={})
        self.one = LifeCycle(ALabel("one", self.cluster), self.context, gate)
        self.two = LifeCycle(ALabel("two", self.cluster), self.context, gate, [self.one])

    def run_all(self) -> Question:
        """Run all cells up to the first that refuses; returns the question of its gate."""
        self.open()
        for step in (self.one, self.two):
            question = self.ask(step)
            try:
                step.apply()
            except NotApproved:
                assert isinstance(question, Question)
                return question
            step.verify()
        raise AssertionError("no cell refused")

    def ask(self, step: LifeCycle) -> GateDecision:
        step.plan()
        return step.gate()


def test_run_all_stops_at_each_gate_and_goes_on_when_run_again(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path)
    notebook.run_all().approve()
    assert notebook.cluster == set()
    notebook.run_all().approve()
    assert notebook.cluster == {"one"}
    with pytest.raises(AssertionError, match="no cell refused"):
        notebook.run_all()
    assert notebook.cluster == {"one", "two"}


def test_a_plan_that_was_applied_needs_a_new_approval_when_it_comes_back(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path)
    notebook.run_all().approve()
    notebook.run_all()
    notebook.cluster.clear()
    assert notebook.run_all().plan.step == "one"
    assert notebook.cluster == set()


def test_a_skipped_step_is_left_out_and_the_next_one_says_so(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path)
    notebook.run_all().skip()
    question = notebook.run_all()
    assert notebook.one.outcome is StepOutcome.SKIPPED
    assert question.warnings == ("one, on which this step builds, was skipped.",)
    assert "Note: one, on which this step builds, was skipped." in str(notebook.two.plan())
    question.approve()
    notebook.two.apply()
    assert notebook.cluster == {"two"}


def test_after_a_stop_no_step_is_applied_until_that_gate_is_run_again(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path)
    notebook.run_all().approve()
    notebook.run_all().stop()
    notebook.cluster.clear()
    notebook.open()
    question = notebook.ask(notebook.one)
    assert isinstance(question, Question)
    question.approve()
    with pytest.raises(NotApproved, match="at the gate of two"):
        notebook.one.apply()
    assert notebook.cluster == set()
    notebook.ask(notebook.two)
    notebook.one.apply()
    assert notebook.cluster == {"one"}


def test_a_change_between_approval_and_apply_voids_the_approval(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path)
    notebook.run_all().approve()
    notebook.cluster.add("zero")
    with pytest.raises(PlanChanged, match="that approval is void"):
        notebook.one.apply()
    assert notebook.cluster == {"zero"}


def test_an_approval_is_recorded_in_the_run_that_uses_it(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path)
    notebook.run_all().approve()
    notebook.run_all()
    recorded = [entry.event for entry in read(tmp_path / "evidence.jsonl").entries]
    given, used = [event for event in recorded if isinstance(event, StepApproved)]
    assert given == used


def test_plan_mode_asks_nobody(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, mode="plan")
    assert not isinstance(notebook.ask(notebook.one), Question)
    assert notebook.one.apply().text == "Plan mode: nothing was applied."
