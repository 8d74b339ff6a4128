"""The start page says what planning finds, and what was verified before on the same cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from runbook_lib import chapters as steps
from runbook_lib.base.errors import RunbookError
from runbook_lib.base.journal import Event, Journal
from runbook_lib.chapters.shared import Chapter
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.lifecycle.step import Step, Verification
from runbook_lib.notebook import display, overview
from runbook_lib.notebook.overview import Overview, Progress, StepProgress
from tests.unit.doubles.given_cluster import GivenCluster
from tests.unit.events import (
    APPLYING,
    APPROVED,
    TAKEN_BACK,
    applied,
    applying,
    failed,
    planned,
    started,
    verified,
)
from tests.unit.samples import LAB, lab_parameters

UID = LAB.uid


class _Planned(Step):
    title, why, takes, risk, undo = "Do <it>", "because", "seconds", "none", "undo it"

    def __init__(self, name: str, outcome: Plan | RunbookError) -> None:
        self.name = name
        self._outcome = outcome

    def plan(self, context: Any) -> Plan:
        assert context.parameters.mode == "plan", "the start page must not need what is missing"
        if isinstance(self._outcome, RunbookError):
            raise self._outcome
        return self._outcome

    def apply(self, _context: Any, _plan: Plan) -> None:
        raise AssertionError("the start page changes nothing")

    def verify(self, _context: Any) -> Verification:
        raise AssertionError("the start page only plans")


def _context(folder: Path, *objects: Object) -> Context:
    journal = Journal(folder / "own" / "evidence.jsonl", run="own")
    return Context(lab_parameters(), LAB, cast(Cluster, GivenCluster(*objects)), journal)


def _changing(step: str) -> Plan:
    return Plan(step, UID, (Change.of_text("Thing a/b", "create", "+x"),))


def _running(step: str) -> Plan:
    return Plan(step, UID, (Change.of_text("Job a/b", "run", "+kind: Job"),))


def _verified(runs: Path, step: str, uid: str) -> None:
    _recorded(runs / f"run-{step}-{uid}", step, uid, planned(), applied(), verified())


def _recorded(folder: Path, step: str, uid: str, *events: Event) -> None:
    journal = Journal(folder / "evidence.jsonl", run="r", notebook="n")
    journal.record(started(uid=uid))
    for event in events:
        journal.of_step(step).record(event)


@pytest.mark.parametrize(
    ("outcome", "verified_on", "expected"),
    [
        (Plan("s", UID), [], Progress.DONE),
        (_changing("s"), [], Progress.TO_DO),
        (_changing("s"), ["another cluster"], Progress.TO_DO),
        (_changing("s"), [UID], Progress.CHANGED),
        # What leaves nothing behind is done once it was verified.
        (_running("s"), [], Progress.TO_DO),
        (_running("s"), [UID], Progress.DONE),
        (RunbookError("there is no namespace"), [UID], Progress.UNKNOWN),
    ],
)
def test_state_of_a_step(
    outcome: Plan | RunbookError,
    verified_on: list[str],
    expected: Progress,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for uid in verified_on:
        _verified(tmp_path, "s", uid)
    monkeypatch.setattr(steps, "CHAPTERS", _with("01_x", _Planned("s", outcome)))
    [row] = overview.of(_context(tmp_path), tmp_path).rows
    assert row.progress is expected


def test_who_changes_the_cluster_since_when_and_by_which_run_stands_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "CHAPTERS", _with("01_x", _Planned("s", Plan("s", UID))))
    by = {"istio-runbook/run": "20260102T030405Z", "istio-runbook/by": "<ana@here>"}
    item = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "istio-runbook", "namespace": "kube-system", "annotations": by},
        "spec": {"holderIdentity": "x", "acquireTime": "2026-01-02T03:04:05.000000Z"},
    }
    told = (
        "The Lease of this cluster is held by run 20260102T030405Z of <ana@here>, since 2026-01-02"
    )
    page = overview.of(_context(tmp_path, item), tmp_path)
    assert str(page).startswith(f"{told} 03:04:05 UTC.\n")
    assert "&lt;ana@here&gt;" in display.overview_html(page)
    item["spec"] = {"holderIdentity": ""}
    assert overview.of(_context(tmp_path, item), tmp_path).held == ""


def _with(name: str, step: Step, *, on_request: bool = False) -> dict[str, Chapter]:
    """A runbook with one step, in a chapter after the first."""
    chapters = (
        Chapter("00_start_here", ""),
        Chapter(name, "", lambda _: (step,), on_request=on_request),
    )
    return {chapter.id: chapter for chapter in chapters}


def _row(
    folder: Path, monkeypatch: pytest.MonkeyPatch, outcome: Plan | RunbookError
) -> StepProgress:
    monkeypatch.setattr(steps, "CHAPTERS", _with("01_x", _Planned("s", outcome)))
    [row] = overview.of(_context(folder), folder).rows
    return row


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        ((), "interrupted while applying: state unknown, run again"),
        ((applied("create X"),), "applied, not verified"),
    ],
)
def test_a_step_that_broke_off_is_not_done_whatever_its_plan_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: tuple[Event, ...], said: str
) -> None:
    _recorded(tmp_path / "1", "s", UID, planned("X"), APPROVED, APPLYING, *reached)
    row = _row(tmp_path, monkeypatch, Plan("s", UID))
    assert (row.progress, row.detail) == (Progress.UNPROVED, said)
    row = _row(tmp_path, monkeypatch, _changing("s"))
    assert (row.progress, row.detail) == (Progress.UNPROVED, f"{said}; create Thing a/b")
    _recorded(tmp_path / "2", "s", UID, planned())
    assert _row(tmp_path, monkeypatch, Plan("s", UID)).progress is Progress.UNPROVED
    _recorded(tmp_path / "3", "s", UID, planned(), applied(), verified())
    assert _row(tmp_path, monkeypatch, Plan("s", UID)).progress is Progress.DONE


def test_page_and_text_say_the_same_and_escape() -> None:
    step = _Planned("s", Plan("s", UID))
    page = Overview((StepProgress("01_x", step, Progress.TO_DO, "create <Thing>"),))
    html, text = display.overview_html(page), str(page)
    for part in ("○ to do", "seconds", "none", "undo it"):
        assert part in html
        assert part in text
    assert "<a href='01_x.ipynb'>" in html
    assert "<Thing>" not in html
    assert "create <Thing>" in text


def test_every_step_says_what_it_takes_risks_and_how_to_undo_it() -> None:
    for story in ("documented", "safe"):
        for notebook in steps.CHAPTERS:
            for step in steps.of(notebook, lab_parameters(story=story)):
                assert step.takes, step.name
                assert step.risk, step.name
                assert step.undo, step.name


def test_what_runs_only_on_request_is_not_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chapter = _with("90_x", _Planned("s", _changing("s")), on_request=True)
    monkeypatch.setattr(steps, "CHAPTERS", chapter)
    assert overview.of(_context(tmp_path), tmp_path).rows == ()


LEFT_THERE = "take it back: kubectl delete Thing a/b"


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((), f"interrupted while applying: state unknown, run again; {LEFT_THERE}"),
        ((applied("create X"),), f"applied, not verified; {LEFT_THERE}"),
        ((failed(),), f"failed; {LEFT_THERE}"),
        ((applied("create X"), verified()), f"waits for the next step; {LEFT_THERE}"),
    ],
)
def test_what_a_dead_kernel_left_is_shown_with_the_command_while_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: tuple[Event, ...], said: str
) -> None:
    monkeypatch.setattr(_Planned, "interim", True)
    monkeypatch.setattr(steps, "CHAPTERS", _with("n", _Planned("s", Plan("s", UID))))
    _recorded(tmp_path / "1", "s", UID, planned("X"), APPROVED, applying(), *events)
    (row,) = overview.of(_context(tmp_path), tmp_path).rows
    assert (row.progress, row.detail) == (Progress.UNPROVED, said)
    monkeypatch.setattr(steps, "CHAPTERS", _with("n", _Planned("s", _changing("s"))))
    (gone,) = overview.of(_context(tmp_path), tmp_path).rows
    assert "kubectl" not in gone.detail


def test_what_was_taken_back_is_to_do_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _recorded(tmp_path / "1", "s", UID, planned("X"), applying(), failed(), TAKEN_BACK)
    row = _row(tmp_path, monkeypatch, _changing("s"))
    assert (row.progress, row.detail) == (Progress.TAKEN_BACK, "create Thing a/b")
