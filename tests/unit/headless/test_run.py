"""What a run says it did is what the evidence says, and its exit code follows from that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runbook_lib import chapters as steps
from runbook_lib.base.errors import ParameterError
from runbook_lib.base.evidence import Evidence
from runbook_lib.headless import run
from runbook_lib.headless.run import Failure, Outcome, Result, StepResult
from runbook_lib.lifecycle import runs
from tests.unit.samples import lab_parameters

PARAMETERS = lab_parameters()
TLS = ["04_mutual_tls"]


def record(folder: Path) -> Evidence:
    return runs.open_evidence(folder, "04_mutual_tls").bind(step="mutual-tls-strict")


def strict(folder: Path) -> StepResult:
    return run.results(TLS, PARAMETERS, folder)[0]


def test_a_step_without_a_record_was_not_run(tmp_path: Path) -> None:
    found = run.results(TLS, PARAMETERS, tmp_path)
    assert [(r.step, r.outcome) for r in found] == [
        ("mutual-tls-strict", "not run"),
        ("mutual-tls-exception", "not run"),
    ]


def test_a_verified_step_says_what_it_changed_and_how_long_it_took(tmp_path: Path) -> None:
    evidence = record(tmp_path)
    evidence.record("step-planned")
    evidence.record("step-applied", changed=["create X"], seconds=1.25)
    evidence.record("step-verified", changed=["create X"], seconds=0.5)
    expected = StepResult("04_mutual_tls", "mutual-tls-strict", "verified", ("create X",), 1.8)
    assert strict(tmp_path) == expected


@pytest.mark.parametrize(
    ("error", "outcome"),
    [("WaitTimeout", "failed"), ("NotApproved", "not approved"), ("PlanChanged", "not approved")],
)
def test_a_failed_step_is_told_from_one_that_was_refused(
    tmp_path: Path, error: str, outcome: str
) -> None:
    record(tmp_path).record("step-planned")
    record(tmp_path).record("step-failed", error=error)
    assert strict(tmp_path).outcome == outcome


def test_an_applied_step_that_was_not_verified_does_not_count(tmp_path: Path) -> None:
    record(tmp_path).record("step-planned")
    record(tmp_path).record("step-applied", changed=["create X"], seconds=1)
    assert strict(tmp_path).outcome == "planned"


def result(*outcomes: Outcome, mode: str = "apply", error: str = "") -> Result:
    failure = Failure("n", "c", error, "m", Path("n.ipynb")) if error else None
    found = tuple(StepResult("n", f"s{i}", outcome) for i, outcome in enumerate(outcomes))
    return Result(Path("runs/x"), mode, found, failure)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (result("verified", "verified"), 0),
        (result("verified", "planned"), 1),
        (result("verified", "not run"), 1),
        (result("planned", "planned", mode="plan"), 0),
        (result("planned", "not run", mode="plan"), 1),
        (result("verified", "verified", error="DeadKernelError"), 1),
        (result("verified", "failed", error="WaitTimeout"), 1),
        (result("not run", error="ParameterError"), 2),
        (result("not run", error="LabNotRunning"), 2),
        (result("not approved", error="NotApproved"), 3),
        (result("not approved", error="PlanChanged"), 3),
    ],
)
def test_the_exit_code_is_0_only_if_every_step_was_proved(found: Result, code: int) -> None:
    assert found.exit_code == code


def test_notebooks_are_run_in_order_whatever_the_order_of_their_names() -> None:
    assert [*run.choose([]), "90_rollback"] == list(steps.CHAPTERS)
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
    waits = limits.rollout * len(PARAMETERS.application.restart_order) + limits.policy
    assert run._cell_timeout(PARAMETERS) > waits
