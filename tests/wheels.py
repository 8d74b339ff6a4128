"""The wheel that this checkout makes."""

from __future__ import annotations

import sys
from pathlib import Path

from runbook_lib.base.command import run
from runbook_lib.base.locations import repository_root


def build(folder: Path) -> Path:
    """Build the wheel into a folder, and return it."""
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check")
    run([*pip, "--no-deps", "--wheel-dir", folder, repository_root()], timeout=120)
    (wheel,) = folder.glob("*.whl")
    return wheel
