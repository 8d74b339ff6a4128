"""Notebook 90: after any rollback the cluster is what it was at the chapter that stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbook_lib import steps
from tests import snapshot
from tests.labs import Lab
from tests.notebooks.headless import Run, run

pytestmark = [pytest.mark.lab, pytest.mark.notebooks, pytest.mark.timeout(600)]

ROLLBACK = "90_rollback"
CHAPTERS = [
    name
    for name in steps.CHAPTERS
    if name not in (*steps.ON_REQUEST, "00_start_here", "07_troubleshoot")
]
INTERRUPTS = "rollback-sidecars"
"""The one step that users must notice on the lab: there is one web pod, and it is replaced."""


def back(lab: Lab, folder: Path, keep: str) -> Run:
    """Roll back to a chapter, with all that it alone asks for."""
    parameters = folder / f"keep-{keep}.yaml"
    parameters.write_text(f"rollback: {{keep: {keep}, kinds: true}}\n")
    return run(lab, folder / "back", "--parameters", str(parameters), "--notebook", ROLLBACK)


def failed_requests(done: Run) -> dict[str, int]:
    """How many requests failed while each step was applied."""
    return {e["step"]: e["failed"] for e in done.events if e["event"] == "sampled"}


def test_each_chapter_can_be_rolled_back_to_what_was_before_it(
    make_lab: Callable[[str], Lab], tmp_path: Path
) -> None:
    lab = make_lab("stages")
    stages = {"00_start_here": snapshot.of(lab)}
    for chapter in CHAPTERS:
        done = run(lab, tmp_path / "there", "--notebook", chapter)
        assert done.code == 0, done.output
        stages[chapter] = snapshot.of(lab)
    assert len(stages) == 7
    for chapter in reversed(list(stages)[:-1]):
        done = back(lab, tmp_path, chapter)
        assert done.code == 0, done.output
        assert snapshot.difference(stages[chapter], snapshot.of(lab)) == "", f"back to {chapter}"
        noticed = {step for step, failed in failed_requests(done).items() if failed}
        assert noticed <= {INTERRUPTS}, done.output


def test_a_full_run_and_a_full_rollback_leave_the_cluster_as_it_was(
    make_lab: Callable[[str], Lab], tmp_path: Path
) -> None:
    lab = make_lab("whole")
    before = snapshot.of(lab)
    assert run(lab, tmp_path / "there").code == 0
    assert snapshot.difference(before, snapshot.of(lab)) != ""
    done = back(lab, tmp_path, "00_start_here")
    assert done.code == 0, done.output
    assert set(done.outcomes.values()) == {"verified"}
    assert snapshot.difference(before, snapshot.of(lab)) == ""
    # Every step that changed something was watched from outside meanwhile.
    assert set(failed_requests(done)) == set(done.changed)
    assert {step for step, failed in failed_requests(done).items() if failed} <= {INTERRUPTS}

    again = back(lab, tmp_path, "00_start_here")
    assert (again.code, again.changed) == (0, {})
