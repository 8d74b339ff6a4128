"""`--output json`: one document on standard output, of the shape that docs/commands.md shows."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runbook_lib import cli
from runbook_lib.base import Document, ExitCode
from runbook_lib.base.locations import repository_root
from runbook_lib.cli import documents
from runbook_lib.headless import run
from runbook_lib.lab import cli as lab
from runbook_lib.lifecycle import StepOutcome, StepRecord, runs
from runbook_lib.lifecycle.events import PlannedChange, StepPlanned

PLANNED = StepPlanned("d", "1 change", (PlannedChange("Namespace xnat", "change", "+ a: b"),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run that has planned one step."""
    made = runs.create(tmp_path / "runs")
    runs.open_journal(made, "02_label_namespace").of_step("injection-label").record(PLANNED)
    return made


def said(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, document and standard error of a command."""
    done = CliRunner().invoke(cli.app, [*arguments, "--output", "json"])
    return done.exit_code, json.loads(done.stdout), done.stderr


def test_a_plan_is_one_document_and_progress_is_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = StepRecord("02_label_namespace", "injection-label", StepOutcome.PLANNED, PLANNED)

    def execute(_notebooks: object, _given: object, folder: Path, **_: object) -> run.Result:
        (folder / "plans").mkdir()
        return run.Result(folder, "plan", (step,))

    monkeypatch.setattr(run, "execute", execute)
    monkeypatch.setattr(lab, "up", lambda name: lab.console.print(f"lab {name} is ready"))
    options = ("--only", "02", "--runs", str(tmp_path), "--start-lab", "--detailed-exitcode")
    code, document, progress = said("plan", *options)
    assert code == document["exit_code"] == 7
    assert (document["schema"], document["verdict"]) == (1, "pending")
    (shown,) = document["steps"]
    assert (shown["step"], shown["pending"]) == ("injection-label", True)
    assert shown["planned"] == [{"object": "Namespace xnat", "action": "change", "diff": "+ a: b"}]
    assert document["carry_out"].endswith(f"run --only 02 --approve-plan {document['folder']}")
    assert "lab default is ready" in progress
    assert "Report:" in progress


def test_runs_and_reports_are_documents(folder: Path) -> None:
    code, document, _ = said("runs", "list", "--root", str(folder.parent))
    assert code == 0
    (kept,) = document["runs"]
    assert (kept["run"], kept["steps"]) == (folder.name, {"planned": 1})
    code, document, _ = said("report", str(folder))
    assert code == 0
    assert Path(document["report"]).is_file()
    assert document["evidence"]["lines"] == 1


def test_evidence_that_is_not_whole_ends_the_process_with_10(folder: Path) -> None:
    evidence = folder / runs.EVIDENCE
    evidence.write_text(evidence.read_text().replace("1 change", "0 changes"))
    words = ("report", str(folder), "--check", "--seal", f"1:{'0' * 64}", "-o", "json")
    done = subprocess.run(
        [sys.executable, "-m", "runbook_lib", *words],
        cwd=repository_root(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == ExitCode.EVIDENCE
    document = json.loads(done.stdout)
    assert document["whole"] is False
    assert len(document["faults"]) == 1


def test_a_lab_that_does_not_run_is_a_document_too() -> None:
    code, document, _ = said("lab", "status", "--name", "nobody-started-this")
    assert (code, document["running"], document["site"]) == (1, False, None)


@pytest.mark.parametrize(
    "shape",
    [*(each for each in vars(documents).values() if isinstance(each, type)), lab.StatusDocument],
)
def test_every_field_of_a_document_is_explained(shape: type) -> None:
    if not (issubclass(shape, Document) and shape is not Document):
        return
    manual = (repository_root() / "docs" / "commands.md").read_text()
    assert [each.name for each in fields(shape) if f"`{each.name}`" not in manual] == []


def test_a_reader_that_goes_away_does_not_end_a_run(tmp_path: Path) -> None:
    """As `run | head -1` does: the run has its own end, its own exit code, and is copied."""
    copied = tmp_path / "copied"
    words = ["runbook", "run", "--only", "00", "--runs", copied.as_uri()]
    script = (
        "import pathlib, sys\n"
        "from runbook_lib.cli import main\n"
        "from runbook_lib.lifecycle import runs\n"
        f"runs.default_root = lambda: pathlib.Path({str(tmp_path / 'runs')!r})\n"
        f"sys.argv = {[*words, '--set', 'target.lab=nobody-started-this']!r}\n"
        "main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=repository_root(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("Parameters:")
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == ExitCode.BAD_INPUT, errors
    assert "Traceback" not in errors
    (summary,) = copied.glob("*/summary.json")
    assert json.loads(summary.read_text())["failure"]["error"] == "LabNotRunning"
