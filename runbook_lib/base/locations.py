"""Where the runbook keeps what it must find again: caches, lab state, run folders."""

from __future__ import annotations

import os
from pathlib import Path

APPLICATION = "istio-runbook"


def cache_root() -> Path:
    """The runbook's folder under the user's cache directory (XDG Base Directory)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / APPLICATION


def lab_directory(name: str) -> Path:
    """The folder that holds everything one lab writes: state, logs, certificates, pods."""
    return cache_root() / "labs" / name


def lab_names() -> list[str]:
    """All labs that have a folder."""
    labs = lab_directory("any").parent
    return sorted(each.name for each in labs.iterdir() if each.is_dir()) if labs.is_dir() else []


def lab_state_file(name: str) -> Path:
    """The JSON file in which a running lab describes itself to the layers above."""
    return lab_directory(name) / "lab.json"


def repository_root() -> Path:
    """The checkout that holds `notebooks/` and `parameters/`."""
    return Path(__file__).resolve().parents[2]
