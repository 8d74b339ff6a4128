"""The chart of a run shows where its time went, phase by phase."""

from __future__ import annotations

from pathlib import Path

from runbook_lib.base.effort import Phase
from runbook_lib.headless import report
from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.events import Spent
from tests.unit.events import applied, verified

NOTEBOOK = "04_mutual_tls"


def _spend(folder: Path, step: str, phase: Phase, seconds: float, **processes: int) -> None:
    journal = runs.open_journal(folder, NOTEBOOK).of_step(step)
    journal.record(Spent(phase, seconds, 0.5, 10, processes, 100))


def test_a_step_has_a_row_with_its_phases_and_what_it_made_others_do(tmp_path: Path) -> None:
    _spend(tmp_path, "strict", "plan", 1.0)
    _spend(tmp_path, "strict", "verify", 2.0, istioctl=2)
    _spend(tmp_path, "strict", "plan", 0.5, helm=1)
    (bar,) = report.bars(runs.record_of(tmp_path))
    assert (bar.title, bar.seconds) == ("strict", {"plan": 1.5, "verify": 2.0})
    assert (bar.total, bar.requests, bar.shown_bytes) == (3.5, 30, 300)
    assert bar.programs_text == "1 helm, 2 istioctl"


def test_the_cells_that_look_have_one_row_a_notebook_and_a_kernels_start_no_time(
    tmp_path: Path,
) -> None:
    _spend(tmp_path, "", "start", 0.0)
    _spend(tmp_path, "", "look", 0.25)
    _spend(tmp_path, "", "look", 0.5)
    (bar,) = report.bars(runs.record_of(tmp_path))
    assert (bar.title, bar.seconds) == ("04_mutual_tls: looking", {"look": 0.75})


def test_of_evidence_without_phases_the_two_that_each_step_says_are_shown(tmp_path: Path) -> None:
    journal = runs.open_journal(tmp_path, NOTEBOOK).of_step("strict")
    for event in (applied("create X", seconds=1.5), verified(0.5)):
        journal.record(event)
    (bar,) = report.bars(runs.record_of(tmp_path))
    assert bar.seconds == {"apply": 1.5, "verify": 0.5}


def test_the_report_draws_the_rows(tmp_path: Path) -> None:
    _spend(tmp_path, "strict", "plan", 1.0)
    _spend(tmp_path, "strict", "verify", 3.0, istioctl=2)
    page = report.write(tmp_path).read_text()
    assert '<span class="plan" style="width: 25.00%">' in page
    assert '<span class="verify" style="width: 75.00%">' in page
    assert "20 requests, 2 istioctl" in page
