"""What a step changed goes back where it fails: all that is unfinished, and nothing of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from runbook_lib.base.errors import NotApproved, RunbookError, VerificationFailed
from runbook_lib.base.journal import Entry, Event, read
from runbook_lib.cluster.client import Cluster
from runbook_lib.lifecycle import record, reverting, runs
from runbook_lib.lifecycle.approvals import Approvals
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.events import StepLeft, StepTakenBack
from runbook_lib.lifecycle.gate import APPROVE_VARIABLE, Gate
from runbook_lib.lifecycle.lifecycle import LifeCycle
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.lifecycle.record import StepRecord
from tests.unit.doubles.steps import ALabel, ARevertibleLabel, Pinned
from tests.unit.events import (
    APPLYING,
    AT,
    TAKEN_BACK,
    applied,
    applying,
    failed,
    planned,
    started,
    verified,
)
from tests.unit.samples import CLUSTER, LAB, from_mapping, lab_parameters


class Kernel:
    """A notebook of two steps: the first cuts users off until the second is there."""

    def __init__(self, runs_: Path, on_failure: str = "revert", run: str = "r1") -> None:
        self.environ = {APPROVE_VARIABLE: "lab-default"}
        self.journal = runs.open_journal(runs_ / run, "n")
        self.journal.record(started())
        self.cluster: set[str] = set()
        parameters = lab_parameters(on_failure=on_failure)
        cluster = cast("Cluster", Pinned())
        self.context = Context(parameters, LAB, cluster, self.journal)
        self.open(self.cluster)

    def open(self, cluster: set[str]) -> None:
        """What running the notebook's first cell does."""
        gate = Gate(LAB, Approvals(), environ=self.environ)
        self.cluster = cluster
        self.strict = ARevertibleLabel("strict", cluster, interim=True)
        self.exception = ARevertibleLabel("exception", cluster)
        self.first = LifeCycle(self.strict, self.context, gate)
        self.second = LifeCycle(self.exception, self.context, gate, [self.first])

    @property
    def entries(self) -> tuple[Entry, ...]:
        return read(self.journal.path).entries

    def events(self, kind: type[Event]) -> list[tuple[str, Event]]:
        return [(e.step, e.event) for e in self.entries if isinstance(e.event, kind)]

    def outcome(self, step: str) -> StepOutcome:
        return record.of(self.journal.path).step("n", step).outcome


def take(step: LifeCycle) -> None:
    step.plan()
    step.gate()
    step.apply()
    step.verify()


def raising(error: BaseException) -> Callable[[], None]:
    def stop() -> None:
        raise error

    return stop


NOT_SEEN = VerificationFailed("the site answers 502", "look at the policies")


def test_a_step_that_is_not_verified_goes_back_and_the_error_says_so_last(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.strict.verifying = raising(VerificationFailed("the site answers 200", "look"))
    with pytest.raises(VerificationFailed) as caught:
        take(kernel.first)
    assert kernel.cluster == set()
    assert str(caught.value).splitlines() == [
        "the site answers 200",
        "→ look",
        "Taken back, and proved: strict (there was none). By hand it would have been:",
        "  remove strict",
    ]
    assert kernel.first.outcome is kernel.outcome("strict") is StepOutcome.TAKEN_BACK
    ((_, event),) = kernel.events(StepTakenBack)
    assert cast(StepTakenBack, event).tables[0].title == "back"


@pytest.mark.parametrize("error", [RunbookError("no room"), KeyError("spec"), KeyboardInterrupt()])
def test_whatever_ends_an_apply_in_the_middle_what_it_changed_goes_back(
    tmp_path: Path, error: BaseException
) -> None:
    kernel = Kernel(tmp_path)
    kernel.strict.applying = raising(error)
    kernel.first.plan()
    kernel.first.gate()
    with pytest.raises(type(error)):
        kernel.first.apply()
    assert kernel.first.outcome is StepOutcome.TAKEN_BACK


def test_what_cuts_users_off_goes_back_with_the_step_that_was_to_heal_it(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    take(kernel.first)
    kernel.exception.verifying = raising(NOT_SEEN)
    with pytest.raises(VerificationFailed):
        take(kernel.second)
    assert kernel.cluster == set()
    taken = [step for step, _ in kernel.events(StepTakenBack)]
    assert taken == ["exception", "strict"]
    assert kernel.first.outcome is kernel.outcome("strict") is StepOutcome.TAKEN_BACK
    with pytest.raises(RunbookError, match="the earlier step strict was taken back"):
        kernel.second.plan()


def test_what_an_earlier_run_proved_is_not_taken_back_by_one_that_finds_it_broken(
    tmp_path: Path,
) -> None:
    kernel = Kernel(tmp_path)
    kernel.cluster.add("exception")
    kernel.exception.verifying = raising(NOT_SEEN)
    kernel.strict.interim = False
    take(kernel.first)
    with pytest.raises(VerificationFailed, match="this step changed nothing in this run"):
        take(kernel.second)
    assert kernel.cluster == {"strict", "exception"}


def test_a_refused_plan_takes_back_what_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(tmp_path)
    take(kernel.first)
    monkeypatch.setattr(kernel.exception, "plan", lambda _: raising(RunbookError("in the way"))())
    with pytest.raises(RunbookError, match="in the way"):
        kernel.second.plan()
    assert kernel.cluster == set()
    assert kernel.outcome("exception") is StepOutcome.REFUSED


def test_what_stays_by_itself_is_no_part_of_it(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.strict.interim = False
    take(kernel.first)
    kernel.exception.verifying = raising(NOT_SEEN)
    with pytest.raises(VerificationFailed):
        take(kernel.second)
    assert kernel.cluster == {"strict"}
    assert kernel.outcome("strict") is StepOutcome.VERIFIED


def test_what_an_earlier_run_left_for_the_next_button_goes_back_as_well(tmp_path: Path) -> None:
    """Whoever approves at a button and runs all again begins a run of its own."""
    earlier = Kernel(tmp_path, run="r1")
    take(earlier.first)
    kernel = Kernel(tmp_path, run="r2")
    kernel.open(earlier.cluster)
    take(kernel.first)
    assert kernel.strict.applied == 0
    assert "what strict changed goes back as well" in kernel.second.plan().plan.fallback
    kernel.exception.verifying = raising(NOT_SEEN)
    with pytest.raises(VerificationFailed):
        take(kernel.second)
    assert kernel.cluster == set()


def test_who_has_not_approved_yet_is_told_how_to_go_back_and_nothing_is_done(
    tmp_path: Path,
) -> None:
    kernel = Kernel(tmp_path)
    take(kernel.first)
    kernel.second.plan()
    with pytest.raises(NotApproved, match=r"What strict changed is in force.*\n  remove strict"):
        kernel.second.apply()
    assert kernel.cluster == {"strict"}


def test_stop_leaves_it_and_prints_the_one_command_for_all_of_it(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "stop")
    take(kernel.first)
    kernel.exception.verifying = raising(NOT_SEEN)
    with pytest.raises(VerificationFailed) as caught:
        take(kernel.second)
    assert kernel.cluster == {"strict", "exception"}
    assert str(caught.value).splitlines()[-2:] == [
        "Not taken back: on_failure is stop. This takes it back:",
        "  remove exception && remove strict",
    ]
    assert kernel.outcome("exception") is StepOutcome.FAILED
    command = "remove exception && remove strict"
    assert kernel.events(StepLeft) == [("exception", StepLeft("on_failure is stop", command))]


@pytest.mark.parametrize("theirs", ["strict", "exception"])
def test_if_others_changed_a_part_of_it_nothing_of_it_is_taken_back(
    tmp_path: Path, theirs: str
) -> None:
    kernel = Kernel(tmp_path)
    take(kernel.first)
    kernel.exception.verifying = raising(NOT_SEEN)
    changed = {"strict": kernel.strict, "exception": kernel.exception}[theirs]
    changed.looking = raising(RunbookError(f"others have changed {theirs} since"))
    with pytest.raises(VerificationFailed, match="remove exception && remove strict"):
        take(kernel.second)
    assert kernel.cluster == {"strict", "exception"}
    assert kernel.outcome("exception") is StepOutcome.FAILED


def test_a_second_interruption_ends_the_taking_back_with_the_command(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.strict.verifying = raising(NOT_SEEN)
    kernel.strict.restoring = raising(KeyboardInterrupt())
    with pytest.raises(VerificationFailed, match="interrupted while taking back"):
        take(kernel.first)
    assert kernel.events(StepLeft)


def test_a_way_back_that_cannot_be_proved_is_not_called_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(tmp_path)
    kernel.strict.verifying = raising(NOT_SEEN)
    monkeypatch.setattr(
        kernel.strict, "verify_restored", lambda *_: raising(RunbookError("still 502"))()
    )
    with pytest.raises(VerificationFailed, match="taken back, and not proved: still 502"):
        take(kernel.first)
    assert kernel.outcome("strict") is StepOutcome.FAILED


def test_an_approval_covers_what_happens_on_failure(tmp_path: Path) -> None:
    plans = [Kernel(tmp_path / each, each).first.plan().plan for each in ("revert", "stop")]
    back, left = plans
    assert "If it is not verified: strict is removed again (on_failure: revert)" in str(back)
    assert "nothing is taken back; the command" in left.fallback
    assert back.digest != left.digest


def test_the_plan_of_what_cannot_be_taken_back_says_so() -> None:
    plan = Plan("one", "uid-1", (Change.of_text("one", "create", "+one"),))
    text = reverting.fallback(ALabel("one", set()), plan, reverts=True)
    assert text == "nothing is taken back by itself; by hand: remove it"


def test_a_plan_that_leaves_nothing_behind_needs_no_way_back() -> None:
    runs_and_goes = Plan("one", "uid-1", (Change.of_text("Job a", "run", "+kind: Job"),))
    assert reverting.fallback(ALabel("one", set()), runs_and_goes, reverts=True) == ""


def attempts(*events: tuple[str, Event]) -> tuple[StepRecord, ...]:
    return record.fold(Entry(AT, "r", event, "n", step) for step, event in events).attempts


def strict(*events: Event) -> list[tuple[str, Event]]:
    return [("strict", event) for event in (planned("S"), applying(), *events)]


WHOLE = strict(applied("S"), verified())


@pytest.mark.parametrize(
    ("events", "left"),
    [
        (strict(), ["strict"]),
        (strict(applied("S")), ["strict"]),
        (strict(failed()), ["strict"]),
        (WHOLE, ["strict"]),
        ([*WHOLE, ("asked", planned("A")), ("asked", failed(phase="plan"))], ["strict"]),
        ([*WHOLE, ("exception", planned()), ("exception", verified())], []),
        ([*WHOLE, ("exception", planned("E")), ("exception", applying())], ["exception", "strict"]),
        ([*WHOLE, ("restart", planned("R")), ("restart", APPLYING)], []),
        (strict(failed(), TAKEN_BACK), []),
        ([*strict(failed(), TAKEN_BACK), *strict()], ["strict"]),
        ([("strict", planned("S")), ("strict", failed(phase="plan"))], []),
    ],
)
def test_unfinished_is_what_was_changed_and_leads_to_nothing_that_was_proved(
    events: list[tuple[str, Event]], left: list[str]
) -> None:
    found = reverting.unfinished(attempts(*events), "n", {"strict"})
    assert [each.step for each in found] == left


def test_production_goes_back_unless_told_otherwise_and_a_lab_stays() -> None:
    assert from_mapping(CLUSTER).reverts
    assert not from_mapping({**CLUSTER, "on_failure": "stop"}).reverts
    assert not lab_parameters().reverts
    assert lab_parameters(on_failure="revert").reverts
