"""nbval: the stored outputs are what a fresh lab gives, and comparing them can fail.

Then back, chapter by chapter: the cluster is again what it was at the chapter that stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from runbook_lib import chapters as steps
from runbook_lib.lifecycle import Record
from tests import snapshot
from tests.chapters import changed, parameters_for, take_chapter
from tests.labs import Lab
from tests.notebooks.headless import CHAPTERS, nbval

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(900),
]

START = "00_start_here"
INTERRUPTS = "rollback-sidecars"
"""The one step that users must notice on the lab: there is one web pod, and it is replaced."""


@dataclass(frozen=True)
class Way:
    """All notebooks of a run, executed and compared in their order.

    Attributes:
        folder: The run's.
        differing: What nbval said of notebooks that did not give their stored outputs.
        stages: A snapshot of the fresh lab and one after each chapter.
    """

    folder: Path
    differing: dict[str, str]
    stages: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def way(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Way:
    """The way through all notebooks, on a fresh lab."""
    done = Way(tmp_path_factory.mktemp("run"), {}, {START: snapshot.of(lab)})
    for notebook in steps.regular():
        compared = nbval(lab, notebook, done.folder)
        if compared.returncode:
            done.differing[notebook] = compared.stdout
            break
        if notebook == "01_install_istio":
            lab.until_webhook_fails_closed()
        if notebook in CHAPTERS:
            done.stages[notebook] = snapshot.of(lab)
    return done


def test_every_notebook_gives_its_stored_outputs_on_a_fresh_lab(way: Way) -> None:
    assert way.differing == {}, "\n".join(way.differing.values())
    assert list(way.stages) == [START, *CHAPTERS]


def test_on_a_lab_that_is_no_fresh_one_the_outputs_differ(lab: Lab, way: Way) -> None:
    again = nbval(lab, START, way.folder)
    assert again.returncode == 1
    assert "pods with a sidecar" in again.stdout


def failed_requests(back: Record) -> dict[str, int]:
    """How many requests failed while each step was applied."""
    return {each.step: each.sampled.failed for each in back.steps if each.sampled}


def test_each_chapter_can_be_rolled_back_to_what_was_before_it(
    lab: Lab, way: Way, tmp_path: Path
) -> None:
    assert way.differing == {}

    def back(chapter: str, folder: str) -> Record:
        given = parameters_for(lab, rollback={"keep": chapter, "kinds": True})
        return take_chapter(given, "90_rollback", tmp_path / folder)

    for chapter in reversed(list(way.stages)[:-1]):
        done = back(chapter, chapter)
        assert snapshot.difference(way.stages[chapter], snapshot.of(lab)) == "", f"at {chapter}"
        # Every step that changed something was watched from outside meanwhile.
        assert list(failed_requests(done)) == changed(done)
        noticed = {step for step, failed in failed_requests(done).items() if failed}
        assert noticed <= {INTERRUPTS}, done
    assert changed(back(START, "again")) == []
