"""A step that makes others do more than is stored is named, with the count."""

from __future__ import annotations

from pathlib import Path

from runbook_lib.base.effort import Phase
from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.events import Spent
from tests.notebooks import counts


def _spend(folder: Path, step: str, phase: Phase, requests: int, **programs: int) -> None:
    journal = runs.open_journal(folder, "04_mutual_tls").of_step(step)
    journal.record(Spent(phase, 1.0, 0.5, requests, programs, 100))


def test_a_runs_counts_are_by_step_and_those_of_waiting_apart(tmp_path: Path) -> None:
    _spend(tmp_path, "", "start", 2)
    _spend(tmp_path, "", "look", 3)
    _spend(tmp_path, "strict", "plan", 10, helm=1)
    _spend(tmp_path, "strict", "verify", 20, helm=1, istioctl=2)
    assert counts.of(runs.record_of(tmp_path)) == {
        "04_mutual_tls: looking": {"kernels": 1, "requests": 5, "bytes shown": 200},
        "strict": {
            "requests": 10,
            "requests, waiting": 20,
            "bytes shown": 200,
            "helm": 2,
            "istioctl": 2,
        },
    }


def test_one_more_helm_is_named_with_its_step_and_both_counts() -> None:
    found = {"strict": {"helm": 3, "requests": 10}}
    known = {"strict": {"helm": 2, "requests": 10}}
    assert list(counts.more(found, known)) == ["strict: 3 helm, and 2 are stored"]


def test_a_program_or_a_step_that_is_not_stored_at_all_is_named() -> None:
    assert list(counts.more({"new": {"curl": 1}}, {})) == ["new: 1 curl, and 0 are stored"]


def test_what_a_slow_machine_does_more_of_is_no_regression_and_less_is_none_either() -> None:
    known = {"strict": {"requests, waiting": 30, "kubectl": 2, "requests": 100, "helm": 9}}
    found = {"strict": {"requests, waiting": 110, "kubectl": 6, "requests": 142, "helm": 1}}
    assert list(counts.more(found, known)) == []
    found["strict"]["requests"] = 143
    assert list(counts.more(found, known)) == ["strict: 143 requests, and 100 are stored"]
