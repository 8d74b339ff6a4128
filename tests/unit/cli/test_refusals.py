"""The command line refuses bad input before it touches anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jupyter_client.kernelspec import KernelSpecManager

from runbook_lib import cli
from runbook_lib.base.exit_codes import ExitCode
from runbook_lib.base.locations import repository_root
from runbook_lib.headless import run
from runbook_lib.lab import cli as lab
from tests.unit.samples import CLUSTER


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
        (("run", "-f", "x" * 5000), "File name too long"),
        (("run", "--set", "mode=aply"), "1 problem in --set:\n  mode: must be one of"),
        (("run", "--set", "mode"), "--set 'mode' is no setting"),
        (("diagnose", "--set", "timeouts.probe=10s"), "in --set:\n  timeouts.probe: must"),
        (("notebook", "-f", "parameters/missing.yaml"), "cannot read parameters/missing.yaml"),
        (("init", "--namespace", "xnat"), "give it --context CONTEXT, or --lab NAME for a lab"),
        (
            ("init", "--namespace", "xnat", "--lab", "x", "--output", "README.md"),
            "README.md is there already",
        ),
        (("run", "--only", "09_unknown"), "there is no notebook 09_unknown"),
        (("run", "--no-such-option"), "No such option"),
        (("walk",), "No such command"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_a_message(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    output = ("--runs", str(tmp_path / "runs")) if arguments[0] == "run" else ()
    done = runbook(*arguments, *output)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_bad_parameters_file_names_line_and_key(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("target:\n  kind: lab\nstroy: safe\n")
    done = runbook("run", "-f", "bad.yaml", "--runs", "runs", cwd=tmp_path)
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
    done = runbook("run", "--detailed-exitcode", "--runs", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert "--detailed-exitcode says whether a plan would change something" in done.stderr
    assert "→ use the command plan, or leave it out" in done.stderr
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
        f"sys.argv = ['runbook', 'run', '--runs', {str(tmp_path / 'runs')!r}]\n"
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
    assert "→ free up disk space, or choose another folder with --runs" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("log", [(), ("istiod",)])
def test_logs_of_a_lab_that_there_is_not_are_an_error(log: tuple[str, ...]) -> None:
    done = runbook("lab", "logs", *log, "--name", "nobody-started-this")
    assert done.returncode == 1
    assert "there is no lab 'nobody-started-this'" in done.stderr


class Started(Exception):
    """Stands for the process that a command becomes, or the lab that it starts."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The labs that were started, and what JupyterLab was started with."""
    seen: list[Any] = []

    def become(_program: str, argv: list[str], environ: dict[str, str]) -> None:
        seen.append((argv[2:], environ.get("RUNBOOK_PARAMETERS")))
        raise Started

    monkeypatch.setattr(os, "execve", become)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(lab, "up", lambda name: seen.append(f"lab {name}"))
    monkeypatch.chdir(Path.cwd())
    return seen


def command(*arguments: str) -> None:
    cli.app([*arguments], standalone_mode=False)


def test_a_session_on_a_lab_starts_it_and_opens_as_root_with_further_options(
    started: list[Any],
) -> None:
    with pytest.raises(Started):
        command("notebook", "--ip", "0.0.0.0", "--no-browser")
    lab_started, (argv, file) = started
    assert (lab_started, file) == ("lab default", None)
    assert {"jupyterlab", "--allow-root", "--no-browser"} <= set(argv)
    assert argv[argv.index("--ip") + 1] == "0.0.0.0"
    assert argv[-1] == "notebooks/00_start_here.ipynb"


def test_a_session_has_kernels_of_this_interpreter_whatever_python3_is_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "kernels" / "python3"
    foreign.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "another", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert KernelSpecManager().get_kernel_spec("python3").argv == ["/bin/false"]

    def become(_program: str, _argv: list[str], environ: dict[str, str]) -> None:
        monkeypatch.setenv("JUPYTER_PATH", environ["JUPYTER_PATH"])
        raise Started

    monkeypatch.setattr(os, "execve", become)
    monkeypatch.setattr(lab, "up", lambda _name: None)
    monkeypatch.chdir(Path.cwd())
    with pytest.raises(Started):
        command("notebook")
    found = KernelSpecManager().get_kernel_spec("python3")
    assert found.resource_dir == str(Path(sys.prefix, "share", "jupyter", "kernels", "python3"))


def test_a_session_on_a_cluster_starts_no_lab_and_hands_the_file_to_every_kernel(
    started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(CLUSTER))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Started):
        command("notebook", "--parameters", "mine.yaml")
    ((_, file),) = started
    assert file == str(tmp_path / "mine.yaml")


@pytest.mark.parametrize("text", ["target: {kind: lab, lab: two}", yaml.safe_dump(CLUSTER)])
def test_a_run_starts_a_lab_only_where_the_target_is_one(
    started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    def execute(*_arguments: Any, **_options: Any) -> None:
        raise Started

    monkeypatch.setattr(run, "execute", execute)
    (tmp_path / "mine.yaml").write_text(text)
    options = ("--start-lab", "--runs", str(tmp_path / "runs"))
    with pytest.raises(Started):
        command("run", "-f", str(tmp_path / "mine.yaml"), *options)
    assert started == (["lab two"] if "kind: lab" in text else [])
