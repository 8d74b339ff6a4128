"""Notebook 90, chapter by chapter: the cluster is again what it was at the chapter that stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbook_lib import chapters as steps
from tests import snapshot
from tests.labs import Lab, take
from tests.notebooks.headless import CHAPTERS, Run, back

pytestmark = [pytest.mark.lab, pytest.mark.notebooks, pytest.mark.timeout(1200)]

INTERRUPTS = "rollback-sidecars"
"""The one step that users must notice on the lab: there is one web pod, and it is replaced."""


def failed_requests(done: Run) -> dict[str, int]:
    """How many requests failed while each step was applied."""
    return {step.step: step.sampled.failed for step in done.record.steps if step.sampled}


def test_each_chapter_can_be_rolled_back_to_what_was_before_it(
    make_lab: Callable[[str], Lab], tmp_path: Path
) -> None:
    lab = make_lab("stages")
    context = lab.context(tmp_path)
    stages = {"00_start_here": snapshot.of(lab)}
    for chapter in CHAPTERS:
        for step in steps.of(chapter, context.parameters):
            _, verification = take(context, step.name)
            assert verification.ok, str(verification)
        if chapter == "01_install_istio":
            lab.until_webhook_fails_closed()
        stages[chapter] = snapshot.of(lab)
    assert len(stages) == 7
    for chapter in reversed(list(stages)[:-1]):
        done = back(lab, tmp_path, chapter)
        assert done.code == 0, done.output
        assert snapshot.difference(stages[chapter], snapshot.of(lab)) == "", f"back to {chapter}"
        # Every step that changed something was watched from outside meanwhile.
        assert set(failed_requests(done)) == set(done.changed)
        noticed = {step for step, failed in failed_requests(done).items() if failed}
        assert noticed <= {INTERRUPTS}, done.output
    again = back(lab, tmp_path, "00_start_here")
    assert (again.code, again.changed) == (0, {})
