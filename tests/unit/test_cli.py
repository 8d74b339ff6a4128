"""The command line refuses bad input before it touches anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runbook_lib.base.exit_codes import ExitCode
from runbook_lib.base.locations import repository_root


def runbook(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runbook_lib", *arguments],
        cwd=cwd or repository_root(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "-f", "parameters/missing.yaml"), "cannot read parameters/missing.yaml"),
        (("run", "--notebook", "09_unknown"), "there is no notebook 09_unknown"),
        (("run", "--no-such-option"), "No such option"),
        (("walk",), "No such command"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_a_message(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    output = ("--output", str(tmp_path / "runs")) if arguments[0] == "run" else ()
    done = runbook(*arguments, *output)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_bad_parameters_file_names_line_and_key(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("target:\n  kind: lab\nstroy: safe\n")
    done = runbook("run", "-f", "bad.yaml", "--output", "runs", cwd=tmp_path)
    assert done.returncode == 2
    assert "line 3, stroy: unknown key" in done.stderr
    assert "did you mean 'story'" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_help_lists_the_commands_of_the_lab_too() -> None:
    done = runbook("--help")
    assert done.returncode == 0
    assert "run" in done.stdout
    assert "lab" in done.stdout


def test_every_exit_code_is_in_the_readme_and_in_the_help() -> None:
    readme = (repository_root() / "README.md").read_text().replace("`", "")
    shown = " ".join(runbook("run", "--help").stdout.split())
    for code in ExitCode:
        assert f"| {code} | {code.meaning} |" in readme
        assert f"{code} {code.meaning}" in shown


def test_pending_changes_are_asked_for_only_of_a_plan(tmp_path: Path) -> None:
    done = runbook("run", "--detailed-exitcode", "--output", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert "--detailed-exitcode says whether a plan would change something" in done.stderr
    assert "→ add --plan, or leave it out" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_starting_up_does_not_import_what_is_not_needed() -> None:
    script = (
        "import sys, runbook_lib.cli\n"
        "print([m for m in ('papermill', 'kubernetes', 'runbook_lib.lab') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_full_disk_is_a_message_with_a_remedy(tmp_path: Path) -> None:
    # No file may grow beyond a kilobyte: what the notebooks' folder then answers is an error of
    # the operating system while papermill writes, as on a full disk.
    script = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "from runbook_lib.cli import main\n"
        f"sys.argv = ['runbook', 'run', '--output', {str(tmp_path / 'runs')!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        cwd=repository_root(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot write the run's files to" in done.stderr
    assert "→ free the disk, or choose another folder with --output" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("log", [(), ("istiod",)])
def test_logs_of_a_lab_that_there_is_not_are_an_error(log: tuple[str, ...]) -> None:
    done = runbook("lab", "logs", *log, "--name", "nobody-started-this")
    assert done.returncode == 1
    assert "there is no lab 'nobody-started-this'" in done.stderr
