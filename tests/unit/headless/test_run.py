"""What a run says it did is what the evidence says, and its exit code follows from that."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from signal import Signals

import pytest

from runbook_lib import chapters as steps
from runbook_lib.base.errors import ParameterError
from runbook_lib.base.journal import Event
from runbook_lib.headless import run, signals
from runbook_lib.headless.run import Failure, Result
from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.record import StepRecord
from runbook_lib.parameters.loading import load
from tests.unit.events import APPLYING, APPROVED, AT, applied, failed, planned, verified
from tests.unit.samples import lab_parameters

PARAMETERS = lab_parameters()
TLS = ["04_mutual_tls"]


def reached(folder: Path, *events: Event) -> StepRecord:
    for event in events:
        runs.open_journal(folder, "04_mutual_tls").of_step("mutual-tls-strict").record(event)
    return run.results(TLS, PARAMETERS, runs.record_of(folder))[0]


def test_a_step_without_a_record_was_not_run(tmp_path: Path) -> None:
    found = run.results(TLS, PARAMETERS, runs.record_of(tmp_path))
    assert [(r.step, r.outcome) for r in found] == [
        ("mutual-tls-strict", StepOutcome.NOT_RUN),
        ("mutual-tls-exception", StepOutcome.NOT_RUN),
        ("mutual-tls-asked", StepOutcome.NOT_RUN),
    ]


def test_a_verified_step_says_what_it_changed_and_how_long_it_took(tmp_path: Path) -> None:
    change = applied("create X", seconds=1.25)
    step = reached(tmp_path, planned("X"), APPROVED, APPLYING, change, verified(0.5))
    assert (step.notebook, step.step) == ("04_mutual_tls", "mutual-tls-strict")
    found = (step.outcome, step.changed, step.seconds)
    assert found == (StepOutcome.VERIFIED, ("create X",), 1.75)


@pytest.mark.parametrize(
    "outcome", [StepOutcome.FAILED, StepOutcome.NOT_APPROVED, StepOutcome.REFUSED]
)
def test_a_failed_step_is_told_from_one_that_was_refused(
    tmp_path: Path, outcome: StepOutcome
) -> None:
    assert reached(tmp_path, planned("X"), failed("Why", outcome)).outcome is outcome


def test_an_applied_step_that_was_not_verified_does_not_count(tmp_path: Path) -> None:
    events = (planned("X"), APPROVED, APPLYING, applied("create X", seconds=1))
    assert reached(tmp_path, *events).outcome is StepOutcome.APPLIED
    assert not result(StepOutcome.APPLIED).complete


def step(number: int, outcome: StepOutcome) -> StepRecord:
    """A step as it comes to this outcome, with a change wherever there can be one."""
    changing = outcome in (
        StepOutcome.INTERRUPTED,
        StepOutcome.APPLIED,
        StepOutcome.VERIFIED,
        StepOutcome.FAILED,
        StepOutcome.TAKEN_BACK,
    )
    return StepRecord(
        "n", f"s{number}", outcome, planned("X"), changing_since=AT if changing else None
    )


def result(
    *outcomes: StepOutcome, mode: str = "apply", error: str = "", ended_by: Signals | None = None
) -> Result:
    failure = Failure("n", "c", error, "m", Path("n.ipynb")) if error else None
    found = tuple(step(number, outcome) for number, outcome in enumerate(outcomes))
    return Result(Path("runs/x"), mode, found, failure, ended_by)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (result(StepOutcome.VERIFIED, StepOutcome.VERIFIED), 0),
        (result(StepOutcome.VERIFIED, StepOutcome.PLANNED), 1),
        (result(StepOutcome.VERIFIED, StepOutcome.NOT_RUN), 1),
        (result(StepOutcome.VERIFIED, StepOutcome.APPLIED), 1),
        (result(StepOutcome.PLANNED, StepOutcome.PLANNED, mode="plan"), 0),
        (result(StepOutcome.PLANNED, StepOutcome.NOT_RUN, mode="plan"), 1),
        (result(StepOutcome.VERIFIED, StepOutcome.VERIFIED, error="DeadKernelError"), 1),
        (result(StepOutcome.VERIFIED, StepOutcome.FAILED, error="WaitTimeout"), 1),
        (result(StepOutcome.VERIFIED, StepOutcome.REFUSED, error="RunbookError"), 1),
        (result(StepOutcome.VERIFIED, StepOutcome.NOT_RUN, error="LabNotRunning"), 1),
        (result(StepOutcome.NOT_RUN, error="ClusterUnreachable"), 1),
        (result(StepOutcome.NOT_RUN, error="ParameterError"), 2),
        (result(StepOutcome.NOT_RUN, error="LabNotRunning"), 2),
        (result(StepOutcome.REFUSED, error="ParameterError"), 2),
        (result(StepOutcome.NOT_APPROVED, error="NotApproved"), 3),
        (result(StepOutcome.NOT_APPROVED, error="PlanChanged"), 3),
        (result(StepOutcome.VERIFIED, StepOutcome.NOT_APPROVED, error="NotApproved"), 3),
        (result(StepOutcome.REFUSED, StepOutcome.NOT_RUN, error="RunbookError"), 4),
        (result(StepOutcome.PLANNED, StepOutcome.REFUSED, mode="plan", error="ApplyConflict"), 4),
        (result(StepOutcome.TAKEN_BACK, StepOutcome.TAKEN_BACK, error="WaitTimeout"), 5),
        (result(StepOutcome.TAKEN_BACK, StepOutcome.NOT_RUN, error="DeadKernelError"), 5),
        (result(StepOutcome.TAKEN_BACK, StepOutcome.REFUSED, error="Refused"), 5),
        (result(StepOutcome.FAILED, StepOutcome.TAKEN_BACK, error="WaitTimeout"), 1),
        (result(StepOutcome.TAKEN_BACK, ended_by=Signals.SIGINT), 130),
        (result(StepOutcome.VERIFIED, StepOutcome.INTERRUPTED, error="DeadKernelError"), 8),
        (result(StepOutcome.VERIFIED, StepOutcome.APPLIED, error="DeadKernelError"), 8),
        (result(StepOutcome.INTERRUPTED, ended_by=Signals.SIGINT), 130),
        (result(StepOutcome.NOT_RUN, ended_by=Signals.SIGTERM), 143),
        (result(StepOutcome.APPLIED, ended_by=Signals.SIGHUP), 129),
    ],
)
def test_the_exit_code_is_0_only_if_every_step_was_proved(found: Result, code: int) -> None:
    assert found.exit_code() == code


def test_changes_that_are_pending_have_a_code_of_their_own_on_request() -> None:
    pending = result(StepOutcome.PLANNED, mode="plan")
    in_place = replace(pending, steps=(StepRecord("n", "s", StepOutcome.PLANNED, planned()),))
    assert (pending.exit_code(), pending.exit_code(detailed=True)) == (0, 7)
    assert (in_place.exit_code(), in_place.exit_code(detailed=True)) == (0, 0)


@pytest.mark.parametrize(
    ("raised", "ended_by"), [(KeyboardInterrupt, "SIGINT"), (signals.Terminated, "SIGTERM")]
)
def test_a_signal_leaves_a_summary_that_names_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    raised: type[KeyboardInterrupt],
    ended_by: str,
) -> None:
    def stop(*_arguments: object) -> None:
        raise raised

    monkeypatch.setattr(run, "_execute_in_order", stop)
    done = run.execute(TLS, load(), tmp_path)
    assert (done.complete, done.broken_off) == (False, True)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ended_by"] == ended_by
    assert {step["outcome"] for step in summary["steps"]} == {"not run"}


def test_notebooks_are_run_in_order_whatever_the_order_of_their_names() -> None:
    assert [*run.choose([]), "08_upgrade", "90_rollback"] == list(steps.CHAPTERS)
    assert run.choose(["90_rollback"]) == ["90_rollback"]
    assert run.choose(["04_mutual_tls", "notebooks/01_install_istio.ipynb"]) == [
        "01_install_istio",
        "04_mutual_tls",
    ]


def test_an_unknown_notebook_is_bad_input() -> None:
    with pytest.raises(ParameterError, match="there is no notebook 04_mutual_tsl"):
        run.choose(["01_install_istio", "04_mutual_tsl"])


def test_the_environment_of_the_kernels_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_APPROVE", "before")
    monkeypatch.delenv("RUNBOOK_RUN_DIR", raising=False)
    with run._environment({"RUNBOOK_APPROVE": "prod", "RUNBOOK_RUN_DIR": "/x"}):
        assert (os.environ["RUNBOOK_APPROVE"], os.environ["RUNBOOK_RUN_DIR"]) == ("prod", "/x")
    assert os.environ["RUNBOOK_APPROVE"] == "before"
    assert "RUNBOOK_RUN_DIR" not in os.environ


def test_without_an_approval_the_environments_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_APPROVE", "before")
    with run._environment({"RUNBOOK_APPROVE": None}):
        assert os.environ["RUNBOOK_APPROVE"] == "before"


def test_a_cell_may_take_longer_than_what_it_waits_for() -> None:
    limits = PARAMETERS.timeouts
    waits = 7200 * len(PARAMETERS.application.restart_order) + limits.policy
    assert run._cell_timeout(PARAMETERS) > waits
    authorization = PARAMETERS.authorization.model_copy(update={"observe": 86_400})
    observed = PARAMETERS.model_copy(update={"authorization": authorization})
    assert run._cell_timeout(observed) > 86_400 + 3 * limits.policy
