"""Compile the programs of the lab's add-ons while the lab already runs.

Kiali, Prometheus and Jaeger are needed last, and take about as long to compile as all the rest.
Until a program is there, its pod waits as for an image that is being pulled.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.locations import command_line, lab_directory
from runbook_lib.base.wait import State, until
from runbook_lib.lab.build.binaries import download, ensure_build, locked, missing
from runbook_lib.lab.build.recipes import ADDONS, BASE
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.state import marked_processes

_PROGRESS = "compiling.json"
"""In the lab's folder: how far it is, or why it has ended."""

_NICENESS = 10
"""The lab, and what is done on it, come first."""

_LONGEST = 3600.0
"""Seconds to wait for the programs; on two cores they take about ten minutes."""


class BeingCompiled(LabError):
    """A program is not there yet; says how far it is."""


def require(program: Path, folder: Path) -> Path:
    """Return the program of an add-on.

    Args:
        program: Where it is once it has been compiled.
        folder: The lab's.

    Raises:
        BeingCompiled: It is not there yet.
        LabError: It could not be compiled.
    """
    if not program.exists():
        raise BeingCompiled(f"its program is not there yet: {_progress(folder)}")
    return program


def wait(name: str, told: Callable[[str], None]) -> None:
    """Wait until the programs of the add-ons are there.

    Args:
        name: The lab.
        told: Of the progress, in words.

    Raises:
        LabError: They could not be compiled, or nothing compiles them any more.
        WaitTimeout: They took more than an hour.
    """

    def observe() -> State:
        if not missing(ADDONS):
            return State(True, "")
        said = _progress(folder)
        if not _alive(name) and missing(ADDONS):  # else it has just ended with its work done
            raise LabError(
                f"they are not there, and nothing compiles them any more; it was {said}",
                remedy=command_line("lab", "build"),
            )
        return State(False, said)

    folder = lab_directory(name)
    until("the programs of Kiali, Prometheus and Jaeger", observe, timeout=_LONGEST, on_change=told)


def _alive(name: str) -> bool:
    for process in marked_processes(name):
        with suppress(psutil.NoSuchProcess):
            if __name__ in process.cmdline():
                return True
    return False


def _progress(folder: Path) -> str:
    try:
        written = json.loads((folder / _PROGRESS).read_text())
    except FileNotFoundError:
        return "about to be compiled"
    if "error" in written:
        raise LabError(f"it could not be compiled: {written['error']}", remedy=written["remedy"])
    return str(written["doing"])


def _write(folder: Path, **message: str) -> None:
    new = folder / f"{_PROGRESS}.new"
    new.write_text(json.dumps(message))
    new.rename(folder / _PROGRESS)


def main(name: str) -> None:
    """Compile what is missing, once what the lab itself needs has been made."""
    os.nice(_NICENESS)
    folder = lab_directory(name)

    def show(phase: str, done: int = 0, total: int = 0) -> None:
        # In tens, so that whoever prints each change is brief.
        _write(folder, doing=f"{phase}: {done * 10 // total * 10} %" if total else phase)

    try:
        for module in missing(ADDONS):
            show(f"downloading Go modules of {module.name}")
            download(module)
        with locked(BASE, show):
            pass
        ensure_build(show)
    except RunbookError as error:
        _write(folder, error=error.cause, remedy=error.remedy)


if __name__ == "__main__":
    main(sys.argv[1])
