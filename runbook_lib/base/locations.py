"""Where the runbook keeps what it must find again: caches, lab state, run folders."""

from __future__ import annotations

import os
import shlex
import site
import sys
from pathlib import Path

APPLICATION = "istio-runbook"

_MODULE = ["python", "-m", "runbook_lib"]


def cache_root() -> Path:
    """The runbook's folder under the user's cache directory (XDG Base Directory)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / APPLICATION


def lab_directory(name: str) -> Path:
    """The folder that holds everything one lab writes: state, logs, certificates, pods."""
    return cache_root() / "labs" / name


def lab_state_file(name: str) -> Path:
    """The JSON file in which a running lab describes itself to the layers above."""
    return lab_directory(name) / "lab.json"


FOLDER_VARIABLE = "RUNBOOK_FOLDER"
"""Names the folder that people work in to the kernels of a JupyterLab."""


def repository_root() -> Path:
    """The folder that holds this library: a checkout's, or an environment's `site-packages`."""
    return Path(__file__).resolve().parents[2]


def installed() -> bool:
    """Whether this is an installed wheel, and no checkout."""
    return not (repository_root() / "notebooks").is_dir()


def delivered() -> Path:
    """The folder with `notebooks/` and `parameters/` as they were delivered."""
    if not installed():
        return repository_root()
    # Where wheels put data, for an environment and for `pip install --user`.
    places = [Path(place, "share", APPLICATION) for place in (sys.prefix, site.getuserbase())]
    return next((place for place in places if (place / "notebooks").is_dir()), places[0])


def working_folder() -> Path:
    """Where people work, and runs are kept: the checkout, else the current folder."""
    if not installed():
        return repository_root()
    return Path(os.environ.get(FOLDER_VARIABLE) or Path.cwd())


def command_line(*words: str) -> str:
    """Return a command of this program as people call it here."""
    return shlex.join([*([APPLICATION] if installed() else _MODULE), *words])
