"""Reports are made anew, evidence is checked, and old runs go: none that is going on."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from runbook_lib.base import ExitCode
from runbook_lib.cli import app
from runbook_lib.cluster import Cluster
from runbook_lib.lifecycle import lease, runs, target
from tests.unit.doubles.given_cluster import GivenCluster
from tests.unit.events import planned, started, verified
from tests.unit.samples import LAB

LINE = "2026-03-0{day}T05:06:07.000Z"


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def made(root: Path, day: int) -> Path:
    """A run of that day."""
    folder = root / f"2026030{day}T050607Z"
    journal = runs.open_journal(folder, "04_mutual_tls")
    journal.record(started())
    for event in (planned("X"), verified()):
        journal.of_step("strict").record(event)
    evidence = folder / runs.EVIDENCE
    lines = [json.loads(line) for line in evidence.read_text().splitlines()]
    text = "".join(json.dumps({**line, "time": LINE.format(day=day)}) + "\n" for line in lines)
    evidence.write_text(text)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs, and a folder that is none."""
    for day in (1, 2, 3):
        made(tmp_path, day)
    (tmp_path / "screenshots").mkdir()
    return tmp_path


def left(root: Path) -> list[str]:
    return sorted(folder.name[:8] for folder in root.iterdir() if folder.name != "screenshots")


def test_runs_are_listed_the_latest_first(root: Path) -> None:
    lines = cli("runs", "list", "--root", str(root)).stdout.splitlines()
    assert [line.split()[0][:8] for line in lines[1:]] == ["20260303", "20260302", "20260301"]
    assert "lab-default" in lines[1]
    assert "1 verified" in lines[1]


def test_the_latest_are_kept(root: Path) -> None:
    assert cli("runs", "prune", "--keep", "1", "--root", str(root)).exit_code == 0
    assert left(root) == ["20260303"]
    assert (root / "screenshots").is_dir()


def test_what_began_long_ago_goes(root: Path) -> None:
    age = datetime.now(UTC) - datetime(2026, 3, 2, 12, tzinfo=UTC)
    days = str(age // timedelta(days=1))
    cli("runs", "prune", "--older-than", f"{days}d", "--root", str(root))
    assert left(root) == ["20260303"]


def test_two_limits_must_both_be_against_a_run(root: Path) -> None:
    cli("runs", "prune", "--keep", "2", "--older-than", "1d", "--root", str(root))
    assert left(root) == ["20260302", "20260303"]


def test_a_dry_run_removes_nothing(root: Path) -> None:
    done = cli("runs", "prune", "--keep", "0", "--dry-run", "--root", str(root))
    assert done.stdout.count("would go") == 3
    assert len(left(root)) == 3


@pytest.mark.parametrize(
    "options", [(), ("--older-than", "soon"), ("--keep", "-1")], ids=["none", "age", "count"]
)
def test_a_limit_that_is_none_removes_nothing(root: Path, options: tuple[str, ...]) -> None:
    assert cli("runs", "prune", *options, "--root", str(root)).exit_code != 0
    assert len(left(root)) == 3


def test_a_run_in_progress_stays_whoever_asks(root: Path) -> None:
    folder = root / "20260301T050607Z"
    holding = f"from runbook_lib.lifecycle import runs; from pathlib import Path; \
        runs.hold(Path({str(folder)!r})); print(flush=True); input()"
    argv = [sys.executable, "-c", holding]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.readline()
        assert "goes on" in cli("runs", "list", "--root", str(root)).stdout
        done = cli("runs", "prune", "--keep", "0", "--root", str(root))
        assert f"{folder.name}: goes on, so it stays" in done.stdout
        assert left(root) == ["20260301"]
        run.kill()
    cli("runs", "prune", "--keep", "0", "--root", str(root))
    assert left(root) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run whose evidence has a summary beside it."""
    step = runs.open_journal(tmp_path / "r", "04_mutual_tls").of_step("strict")
    for event in (planned("X"), verified(), verified()):
        step.record(event)
    sealed = runs.seal_of(tmp_path / "r")
    noted = {"evidence": {"lines": sealed.lines, "sha256": sealed.sha256}}
    (tmp_path / "r" / runs.SUMMARY).write_text(json.dumps(noted))
    return tmp_path / "r"


def test_a_report_is_made_anew_from_the_evidence_alone(folder: Path) -> None:
    done = cli("report", str(folder))
    assert done.exit_code == 0
    assert (folder / "report.html").is_file()
    assert (folder / "junit.xml").is_file()
    assert str(runs.seal_of(folder)) in done.stdout


def test_whole_evidence_is_said_to_be_whole(folder: Path) -> None:
    done = cli("report", str(folder), "--check")
    assert (done.exit_code, done.stdout[:25]) == (0, "✓ The evidence is whole: ")
    assert cli("report", str(folder), "--check", "--seal", str(runs.seal_of(folder))).exit_code == 0


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ((0, 1), "the end is missing: 3 lines were sealed, and 2 are there"),
        ((0, 2), "line 2 is missing"),
    ],
)
def test_evidence_that_lacks_a_line_has_its_exit_code(
    folder: Path, kept: tuple[int, ...], said: str
) -> None:
    evidence = folder / runs.EVIDENCE
    lines = evidence.read_bytes().splitlines(keepends=True)
    evidence.write_bytes(b"".join(lines[place] for place in kept))
    done = cli("report", str(folder), "--check")
    assert done.exit_code == ExitCode.EVIDENCE
    assert f"✗ {said}" in done.stdout


def test_a_line_that_was_changed_has_its_exit_code(folder: Path) -> None:
    evidence = folder / runs.EVIDENCE
    evidence.write_text(evidence.read_text().replace("create X", "create Y"))
    done = cli("report", str(folder), "--check")
    assert (done.exit_code, done.stdout) == (10, "✗ line 1 was changed\n")


def test_a_seal_from_elsewhere_counts_where_the_summary_is_of_whoever_changed_the_evidence(
    folder: Path,
) -> None:
    sealed = str(runs.seal_of(folder))
    (folder / runs.SUMMARY).unlink()
    evidence = folder / runs.EVIDENCE
    evidence.write_bytes(b"".join(evidence.read_bytes().splitlines(keepends=True)[:2]))
    assert "no summary.json to check its end" in cli("report", str(folder), "--check").stdout
    assert cli("report", str(folder), "--check", "--seal", sealed).exit_code == 10


def test_what_is_no_run_is_bad_input(tmp_path: Path) -> None:
    done = cli("report", str(tmp_path))
    assert "there is no run in" in str(done.exception)


@pytest.mark.parametrize(
    ("holder", "code", "said"),
    [("own", 10, "the end is missing"), ("20270101T000000Z", 0, "says nothing of this run")],
)
def test_the_lease_shows_an_end_that_is_missing_as_long_as_no_later_run_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: str, code: int, said: str
) -> None:
    folder = tmp_path / "20260101T000000Z"
    runs.open_journal(folder, "04_mutual_tls").record(started())
    told = {lease.RUN: folder.name if holder == "own" else holder, lease.SEAL: f"2:{'0' * 64}"}
    item = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "istio-runbook", "namespace": "kube-system", "annotations": told},
    }
    monkeypatch.setattr(target, "resolve", lambda _parameters: LAB)
    monkeypatch.setattr(Cluster, "of", lambda _target: GivenCluster(item))
    done = cli("report", str(folder), "--check", "--lease")
    assert done.exit_code == code
    assert said in done.output
