"""nbval: the stored outputs are what a fresh lab gives, and comparing them can fail."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runbook_lib import chapters as steps
from runbook_lib.base.locations import repository_root
from tests import snapshot
from tests.labs import Lab
from tests.notebooks.headless import back, execute

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(720),
]


def nbval(lab: Lab, *paths: str, run_folder: str) -> subprocess.CompletedProcess[str]:
    """Compare notebooks with `pytest --nbval`, in the order of their names."""
    return execute(
        lab,
        *("-m", "pytest", "--nbval", "--nbval-current-env", "-x", "--nbval-cell-timeout", "120"),
        # The project's own settings are for its tests: kernels may warn.
        *("-o", "addopts=", "-o", "filterwarnings=default", "-o", "timeout=240"),
        *("-p", "no:cacheprovider", "--color", "no", *paths),
        RUNBOOK_RUN_DIR=run_folder,
    )


def test_every_notebook_gives_its_stored_outputs_on_a_fresh_lab(
    lab: Lab, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = snapshot.of(lab)
    folder = str(tmp_path_factory.mktemp("run"))
    found = sorted((repository_root() / "notebooks").glob("*.ipynb"))
    notebooks = [path for path in found if path.stem in steps.regular()]
    there = nbval(lab, *map(str, notebooks), run_folder=folder)
    assert there.returncode == 0, there.stdout

    # The same lab is no fresh one any more: now the first notebook's outputs differ.
    again = nbval(lab, str(notebooks[0]), run_folder=folder)
    assert again.returncode == 1
    assert "pods with a sidecar" in again.stdout

    # The rollback begins where the others end.
    undone = nbval(lab, *(str(path) for path in found if path not in notebooks), run_folder=folder)
    assert undone.returncode == 0, undone.stdout

    # It leaves the kinds, unless asked; without them the cluster is what it was before all this.
    done = back(lab, tmp_path, "00_start_here")
    assert done.code == 0, done.output
    assert snapshot.difference(before, snapshot.of(lab)) == ""
