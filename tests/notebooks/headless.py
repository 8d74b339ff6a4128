"""Run the runbook's commands as a user would, on a lab of the tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from runbook_lib import chapters as steps
from runbook_lib.base import Entry, journal
from runbook_lib.base.locations import repository_root
from runbook_lib.lifecycle import Record, runs
from tests.chapters import answers
from tests.labs import Lab
from tests.unit.samples import lab_parameters

CHAPTERS = [name for name in steps.regular() if steps.of(name, lab_parameters())]
"""The notebooks of a run that have steps; the others only look."""

LIMIT = 480
"""Seconds for one run: many times what it takes."""

_PYTEST = "import sys; sys.modules['rfc3987_syntax'] = None; import pytest; sys.exit(pytest.main())"
"""Pytest without a grammar that jsonschema would build for seconds (see `tests/conftest.py`)."""


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    code: int
    output: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        """What the run says about itself."""
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return found

    @property
    def outcomes(self) -> dict[str, str]:
        """Every step's outcome."""
        return {step["step"]: step["outcome"] for step in self.summary["steps"]}

    @property
    def changed(self) -> dict[str, list[str]]:
        """What the steps changed that changed something."""
        return {step["step"]: step["changed"] for step in self.summary["steps"] if step["changed"]}

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The evidence."""
        return journal.read(self.folder / runs.EVIDENCE).entries

    @property
    def record(self) -> Record:
        """What it says."""
        return runs.record_of(self.folder)

    @property
    def kinds(self) -> set[str]:
        """Which kinds of events there are."""
        return {entry.event.name for entry in self.entries}

    def answers(self, step: str) -> dict[str, str]:
        """What the site answered to each method when a step was verified."""
        return answers(self.folder, step)


def run(lab: Lab, output: Path, *options: str, command: str = "run", **environ: str) -> Run:
    """Run `python -m runbook_lib run`, or a command like it, with its folder under `output`."""
    earlier = set(output.glob("*"))
    done = execute(lab, "-m", "runbook_lib", command, "--runs", str(output), *options, **environ)
    (folder,) = set(output.glob("*")) - earlier
    return Run(done.returncode, done.stdout, folder)


def back(lab: Lab, folder: Path, keep: str) -> Run:
    """Roll back to a chapter, and of what goes leave nothing behind."""
    parameters = folder / f"keep-{keep}.yaml"
    parameters.write_text(f"target: {{kind: lab}}\nrollback: {{keep: {keep}, kinds: true}}\n")
    return run(lab, folder / "back", "-f", str(parameters), command="rollback")


def nbval(lab: Lab, notebook: str, run_folder: Path) -> subprocess.CompletedProcess[str]:
    """Execute a notebook with `pytest --nbval`, which compares its stored outputs."""
    return execute(
        lab,
        *("-c", _PYTEST, "--nbval", "--nbval-current-env", "-x", "--nbval-cell-timeout", "120"),
        # The project's own settings are for its tests: kernels may warn.
        *("-o", "addopts=", "-o", "filterwarnings=default", "-o", "timeout=240"),
        *("-p", "no:cacheprovider", "--color", "no", f"notebooks/{notebook}.ipynb"),
        RUNBOOK_RUN_DIR=str(run_folder),
    )


def start(lab: Lab, output: Path, stream: int | IO[str], *options: str) -> subprocess.Popen[str]:
    """Start a run, to be interrupted; both of its streams go to `stream`."""
    # A shell's background jobs ignore Ctrl-C, and so would the run.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [sys.executable, "-m", "runbook_lib", "run", "--runs", str(output), *options],
        cwd=repository_root(),
        env=_environment(lab),
        stdin=subprocess.DEVNULL,
        stdout=stream,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def execute(lab: Lab, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the repository; both streams become the output."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=repository_root(),
        env={**_environment(lab), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def _environment(lab: Lab) -> dict[str, str]:
    """The lab's, without an approval of whoever runs the tests."""
    return {k: v for k, v in lab.environment.items() if k != "RUNBOOK_APPROVE"}
