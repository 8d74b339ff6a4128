"""What real shells complete: commands, options, chapters and the folders of runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
import typer

from runbook_lib.cli import app
from runbook_lib.cli.options import _run_folders
from runbook_lib.lifecycle import runs

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

BASH = """
eval "$(_ISTIO_RUNBOOK_COMPLETE=source_bash istio-runbook)"
function=$(complete -p istio-runbook | sed 's/.*-F \\([^ ]*\\).*/\\1/')
while IFS= read -r line; do
  COMP_WORDS=($line) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
  $function istio-runbook
  echo "${COMPREPLY[*]}"
done
"""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The folder of a run."""
    folder = runs.create(tmp_path / "runs")
    (folder / runs.EVIDENCE).touch()
    return folder


def test_bash_completes_commands_options_chapters_and_runs(kept: Path) -> None:
    completed = {
        "ro": "rollback",
        "run --approve-p": "--approve-plan",
        "run --from 03": "03_autoscaling",
        f"run --runs {kept.parent} --approve-plan {kept.parent}/": str(kept),
        "lab u": "up",
    }
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH],
        input="".join(f"istio-runbook {words}\n" for words in completed),
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        text=True,
        timeout=55,
        check=True,
    )
    answers = dict(zip(completed, done.stdout.splitlines(), strict=True))
    missing = {
        words: said for words, said in answers.items() if completed[words] not in said.split()
    }
    assert missing == {}


def test_zsh_completes_commands_and_chapters(tmp_path: Path) -> None:
    (tmp_path / ".zshrc").write_text(
        "autoload -Uz compinit && compinit -u\n"
        'eval "$(_ISTIO_RUNBOOK_COMPLETE=source_zsh istio-runbook)"\n'
        "PS1='ready> '\n"
    )
    environ = {**os.environ, "PATH": PATH, "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    shell = pexpect.spawn("zsh", ["-i"], env=environ, encoding="utf-8", timeout=50)
    shell.expect_exact("ready> ")
    for typed, completed in (("roll", "rollback"), ("run --from 03", "03_autoscaling")):
        shell.send(f"istio-runbook {typed}\t")
        shell.expect_exact(completed)
        shell.sendcontrol("u")
    shell.close(force=True)


def test_the_folders_of_runs_are_completed_the_latest_first(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "20000101T000000Z").mkdir()
    (tmp_path / "runs" / "20000101T000000Z" / runs.EVIDENCE).touch()
    (tmp_path / "runs" / "no-run").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "default_root", lambda: tmp_path / "runs")
    context = typer.Context(typer.main.get_command(app))
    assert _run_folders(context, "") == [f"runs/{kept.name}", "runs/20000101T000000Z"]
    assert _run_folders(context, "runs/2000") == ["runs/20000101T000000Z"]
