"""Run folders are new, shared by name, and belong to one cluster."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from runbook_lib.base import journal
from runbook_lib.base.errors import RunbookError, TargetChanged
from runbook_lib.base.journal import read
from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.events import NotebookStarted, Waiting
from tests.unit.samples import LAB, PRODUCTION, lab_parameters

PARAMETERS = lab_parameters()


def test_a_folder_is_named_after_the_time_in_utc(tmp_path: Path) -> None:
    folder = runs.create(tmp_path / "runs", "04_mutual_tls")
    assert re.fullmatch(r"\d{8}T\d{6}Z-04_mutual_tls", folder.name)
    assert folder.is_dir()


def test_two_runs_never_share_a_folder_by_accident(tmp_path: Path) -> None:
    folders = {runs.create(tmp_path) for _ in range(5)}
    assert len(folders) == 5


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunbookError, match="cannot make the run folder"):
        runs.create(tmp_path / "file")


def test_notebooks_of_a_run_use_its_folder(tmp_path: Path) -> None:
    environ = {runs.RUN_DIRECTORY_VARIABLE: str(tmp_path)}
    assert runs.folder_of("04_mutual_tls", LAB.uid, environ) == tmp_path


def test_a_notebook_alone_has_one_folder_for_each_cluster_however_often_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "default_root", lambda: tmp_path)
    monkeypatch.setattr(runs, "_OF_THIS_KERNEL", {})
    first = runs.folder_of("04_mutual_tls", LAB.uid, {})
    assert first.parent == tmp_path
    assert runs.folder_of("04_mutual_tls", LAB.uid, {}) == first
    assert runs.folder_of("04_mutual_tls", PRODUCTION.uid, {}) != first
    assert runs.folder_of("05_authorization", LAB.uid, {}) != first
    shutil.rmtree(first)
    assert runs.folder_of("04_mutual_tls", LAB.uid, {}).is_dir()


def test_the_record_says_which_cluster_how_and_where(tmp_path: Path) -> None:
    journal = runs.open_journal(tmp_path, "04_mutual_tls")
    runs.pin_target(journal, LAB, PARAMETERS)
    (entry,) = read(tmp_path / runs.EVIDENCE).entries
    assert (entry.notebook, entry.run) == ("04_mutual_tls", tmp_path.name)
    started = entry.event
    assert isinstance(started, NotebookStarted)
    assert (started.target, started.uid, started.server) == (LAB.name, LAB.uid, LAB.server)
    assert (started.story, started.mode) == ("documented", "apply")
    assert runs.record_of(tmp_path).started == started


def test_a_second_notebook_may_go_on_with_the_same_cluster(tmp_path: Path) -> None:
    for notebook in ("01_install_istio", "02_label_namespace"):
        runs.pin_target(runs.open_journal(tmp_path, notebook), LAB, PARAMETERS)
    assert len(read(tmp_path / runs.EVIDENCE).entries) == 2


@pytest.mark.parametrize("other", [PRODUCTION, replace(LAB, uid="uid-of-a-new-lab")])
def test_a_run_refuses_to_go_on_with_another_cluster(tmp_path: Path, other: object) -> None:
    runs.pin_target(runs.open_journal(tmp_path, "01_install_istio"), LAB, PARAMETERS)
    with pytest.raises(TargetChanged, match="this run works on lab-default"):
        runs.pin_target(runs.open_journal(tmp_path, "02"), other, PARAMETERS)  # type: ignore[arg-type]
    assert len(read(tmp_path / runs.EVIDENCE).entries) == 1


def _began(root: Path, name: str, uid: str) -> Path:
    folder = root / name
    target = replace(LAB, uid=uid)
    runs.pin_target(runs.open_journal(folder, "04_mutual_tls"), target, PARAMETERS)
    return folder / runs.EVIDENCE


def test_only_runs_on_the_same_cluster_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = _began(tmp_path, "1", "uid-a")
    _began(tmp_path, "2", "uid-b")
    _began(tmp_path, "3", "uid-a")
    understood: list[Path] = []
    monkeypatch.setattr(journal, "read", lambda path: understood.append(path) or read(path))
    assert [run.run for run in runs.records_on(tmp_path, "uid-a", before="3")] == ["1"]
    assert understood == [own], "nothing of another cluster, and nothing later"


def test_a_run_that_has_ended_is_read_once_and_one_that_goes_on_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _began(tmp_path, "1", "uid-a")
    understood: list[Path] = []
    monkeypatch.setattr(journal, "read", lambda path: understood.append(path) or read(path))
    runs.records_on(tmp_path, "uid-a")
    runs.records_on(tmp_path, "uid-a")
    assert understood == [path]
    runs.open_journal(path.parent, "05_authorization").record(Waiting("for the site"))
    runs.records_on(tmp_path, "uid-a")
    assert understood == [path, path]
