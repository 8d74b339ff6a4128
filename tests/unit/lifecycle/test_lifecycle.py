"""Plan, gate, apply, verify: in this order, on what was shown, and recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from runbook_lib.base.errors import (
    NotApproved,
    ParameterError,
    PlanChanged,
    RunbookError,
    TargetChanged,
    VerificationFailed,
    WaitTimeout,
)
from runbook_lib.base.journal import Entry, Event, Journal, read
from runbook_lib.cluster.client import Cluster
from runbook_lib.lifecycle import record
from runbook_lib.lifecycle.approvals import Approvals
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.events import StepFailed, StepPlanned, StepVerified
from runbook_lib.lifecycle.gate import APPROVE_VARIABLE, Gate
from runbook_lib.lifecycle.lifecycle import LifeCycle
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.lifecycle.table import Row
from tests.unit.doubles.steps import ALabel, Pinned
from tests.unit.samples import LAB, lab_parameters


class Kernel:
    """Two steps in one kernel."""

    def __init__(self, folder: Path, *, approve: str = "lab-default", mode: str = "apply") -> None:
        self.cluster: set[str] = set()
        self.pinned = Pinned()
        self.record = folder / "evidence.jsonl"
        self.changed = False
        context = Context(
            lab_parameters(mode=mode),
            LAB,
            cast("Cluster", self.pinned),
            Journal(self.record, run="r1", notebook="n"),
            self._refuse_if_changed,
        )
        gate = Gate(LAB, Approvals(), environ={APPROVE_VARIABLE: approve})
        self.steps = [ALabel("one", self.cluster), ALabel("two", self.cluster)]
        self.one = LifeCycle(self.steps[0], context, gate)
        self.two = LifeCycle(self.steps[1], context, gate, [self.one])

    def _refuse_if_changed(self) -> None:
        if self.changed:
            raise ParameterError("the parameters changed since")

    def events(self, step: str) -> list[str]:
        return [entry.event.name for entry in self.entries if entry.step == step]

    @property
    def entries(self) -> tuple[Entry, ...]:
        return read(self.record).entries

    @property
    def last(self) -> Event:
        return self.entries[-1].event


def run(step: LifeCycle) -> None:
    step.plan()
    step.gate()
    step.apply()
    step.verify()


def test_a_step_goes_through_its_life_and_leaves_a_record(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    run(kernel.one)
    assert kernel.cluster == {"one"}
    assert kernel.one.outcome is StepOutcome.VERIFIED
    assert kernel.events("one") == [
        "step-planned",
        "step-approved",
        "step-applying",
        "step-applied",
        "step-verified",
    ]
    assert isinstance(kernel.last, StepVerified)
    assert kernel.last.tables[0].rows == (Row(("one",), ok=True),)
    (step,) = record.of(kernel.record).steps
    assert (step.outcome, step.changed) == (StepOutcome.VERIFIED, ("create one",))


def test_a_second_run_has_nothing_to_apply_and_still_verifies(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    run(kernel.one)
    assert str(kernel.one.plan()).endswith("Nothing to change.")
    kernel.one.gate()
    assert str(kernel.one.apply()) == "Nothing to apply."
    assert kernel.one.verify().ok
    assert kernel.steps[0].applied == 1
    assert record.of(kernel.record).steps[-1].changed == ()
    assert kernel.events("one").count("step-applying") == 1


def test_a_plan_is_needed_first(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    with pytest.raises(RunbookError, match="gate needs a plan"):
        kernel.one.gate()
    with pytest.raises(RunbookError, match="apply needs a plan"):
        kernel.one.apply()


def test_a_plan_without_the_gate_is_not_applied(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.one.plan()
    with pytest.raises(NotApproved):
        kernel.one.apply()
    assert kernel.cluster == set()


def test_what_the_operator_does_not_approve_is_not_applied(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, approve="none")
    kernel.one.plan()
    assert kernel.one.gate().verdict == "not approved"
    with pytest.raises(NotApproved):
        kernel.one.apply()
    assert kernel.cluster == set()
    assert isinstance(kernel.last, StepFailed)
    assert (kernel.last.outcome, kernel.last.error) == (StepOutcome.NOT_APPROVED, "NotApproved")


def test_a_refusal_can_be_mended_in_the_same_kernel(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.one.plan()
    with pytest.raises(NotApproved):
        kernel.one.apply()
    kernel.one.gate()
    kernel.one.apply()
    assert kernel.cluster == {"one"}


def test_a_plan_that_changed_since_it_was_shown_is_not_applied(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.one.plan()
    kernel.one.gate()
    kernel.cluster.add("somebody else's")
    with pytest.raises(PlanChanged, match="no longer the one that was approved"):
        kernel.one.apply()
    assert "one" not in kernel.cluster


def test_work_that_appears_after_an_empty_plan_is_not_done(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.cluster.add("one")
    kernel.one.plan()
    kernel.one.gate()
    kernel.cluster.clear()
    with pytest.raises(PlanChanged, match="there was nothing to change, and now there is"):
        kernel.one.apply()


def test_another_cluster_behind_the_kubeconfig_stops_everything(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.one.plan()
    kernel.one.gate()
    kernel.pinned.identity = "uid-9"
    with pytest.raises(TargetChanged):
        kernel.one.apply()
    assert kernel.cluster == set()


def test_only_what_was_applied_can_be_verified(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.one.plan()
    with pytest.raises(RunbookError, match="one is planned, so there is nothing to verify"):
        kernel.one.verify()


def test_a_verification_that_is_not_ok_fails_and_shows_the_table(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.one.plan()
    kernel.one.gate()
    kernel.one.apply()
    kernel.cluster.clear()
    with pytest.raises(VerificationFailed, match="one   NO"):
        kernel.one.verify()
    assert kernel.one.outcome is StepOutcome.FAILED
    assert kernel.events("one")[-1] == "step-failed"


def test_after_a_failure_no_later_step_is_run(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)

    def stuck() -> None:
        raise WaitTimeout("pods to be ready", "0 of 1", 60.0)

    kernel.steps[0].applying = stuck
    kernel.one.plan()
    kernel.one.gate()
    with pytest.raises(WaitTimeout):
        kernel.one.apply()
    for phase in (kernel.two.plan, kernel.two.gate, kernel.two.apply, kernel.two.verify):
        with pytest.raises(RunbookError, match="the earlier step one failed"):
            phase()
    assert kernel.events("two") == []


def test_a_failed_step_can_be_run_again_and_frees_the_later_ones(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)

    def stuck() -> None:
        raise WaitTimeout("pods to be ready", "0 of 1", 60.0)

    kernel.steps[0].applying = stuck
    kernel.one.plan()
    kernel.one.gate()
    with pytest.raises(WaitTimeout):
        kernel.one.apply()
    kernel.steps[0].applying = lambda: None
    run(kernel.one)
    run(kernel.two)
    assert kernel.cluster == {"one", "two"}


def test_a_step_is_not_applied_before_the_earlier_ones_are_verified(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.two.plan()
    kernel.two.gate()
    with pytest.raises(RunbookError, match="two builds on one, which is not run and not verified"):
        kernel.two.apply()
    assert kernel.cluster == set()


def test_plan_mode_changes_nothing_and_says_so(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, mode="plan")
    for step in (kernel.one, kernel.two):
        step.plan()
        assert step.gate().verdict == "not needed"
        assert str(step.apply()) == "Plan mode: nothing was applied."
        assert str(step.verify()) == "Not verified in plan mode."
    assert kernel.cluster == set()
    (planned,) = [entry.event for entry in kernel.entries if entry.step == "one"]
    assert isinstance(planned, StepPlanned)
    assert planned.plan_only


def test_an_unexpected_error_is_recorded_too(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)

    def defect() -> None:
        raise KeyError("spec")

    kernel.steps[0].applying = defect
    kernel.one.plan()
    kernel.one.gate()
    with pytest.raises(KeyError):
        kernel.one.apply()
    assert kernel.last == StepFailed(StepOutcome.FAILED, "apply", "KeyError", "'spec'")


def raising(error: BaseException) -> Callable[[], None]:
    def stop() -> None:
        raise error

    return stop


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (WaitTimeout("pods to be ready", "0 of 1", 60.0), StepOutcome.FAILED),
        (KeyError("spec"), StepOutcome.FAILED),
        (KeyboardInterrupt(), StepOutcome.INTERRUPTED),
    ],
)
def test_what_ends_an_apply_says_whether_anything_is_known(
    tmp_path: Path, error: BaseException, outcome: StepOutcome
) -> None:
    kernel = Kernel(tmp_path)
    kernel.steps[0].applying = raising(error)
    kernel.one.plan()
    kernel.one.gate()
    with pytest.raises(type(error)):
        kernel.one.apply()
    assert kernel.one.outcome is outcome
    assert record.of(kernel.record).steps[0].outcome is outcome


def test_while_it_is_applied_a_step_is_as_one_whose_kernel_dies_then(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    seen: list[StepOutcome] = []
    kernel.steps[0].applying = lambda: seen.append(record.of(kernel.record).steps[0].outcome)
    run(kernel.one)
    assert seen == [StepOutcome.INTERRUPTED]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RunbookError("others manage the field"), StepOutcome.REFUSED),
        (KeyError("spec"), StepOutcome.FAILED),
    ],
)
def test_a_plan_that_is_refused_is_told_from_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: StepOutcome
) -> None:
    kernel = Kernel(tmp_path)

    def plan(_step: ALabel, _context: Context) -> Plan:
        raise error

    monkeypatch.setattr(ALabel, "plan", plan)
    with pytest.raises(type(error)):
        kernel.one.plan()
    assert record.of(kernel.record).steps[0].outcome is outcome
    with pytest.raises(RunbookError, match="the earlier step one"):
        kernel.two.plan()


def test_another_cluster_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.one.plan()
    kernel.one.gate()
    kernel.pinned.identity = "uid-9"
    with pytest.raises(TargetChanged):
        kernel.one.apply()
    (step,) = record.of(kernel.record).steps
    assert (step.outcome, step.touched) == (StepOutcome.REFUSED, False)


def test_an_interrupted_verification_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(tmp_path)
    kernel.one.plan()
    kernel.one.gate()
    kernel.one.apply()
    with monkeypatch.context() as patch:
        patch.setattr(ALabel, "verify", lambda *_: raising(KeyboardInterrupt())())
        with pytest.raises(KeyboardInterrupt):
            kernel.one.verify()
    assert record.of(kernel.record).steps[0].outcome is StepOutcome.APPLIED
    assert kernel.one.verify().ok


def test_a_proposal_shows_what_a_person_needs_to_decide(tmp_path: Path) -> None:
    text = str(Kernel(tmp_path).one.plan())
    for expected in ("Add a name on lab-default", "Why:  because", "Risk: none", "+one"):
        assert expected in text


@pytest.mark.parametrize("phase", ["plan", "gate", "apply", "verify"])
def test_nothing_goes_on_with_parameters_that_changed_since(tmp_path: Path, phase: str) -> None:
    kernel = Kernel(tmp_path)
    kernel.one.plan()
    kernel.one.gate()
    kernel.changed = True
    with pytest.raises(ParameterError, match="the parameters changed since"):
        getattr(kernel.one, phase)()
    assert kernel.cluster == set()
    assert kernel.one.outcome is StepOutcome.PLANNED
    kernel.changed = False
    run(kernel.one)
    assert kernel.one.outcome is StepOutcome.VERIFIED
