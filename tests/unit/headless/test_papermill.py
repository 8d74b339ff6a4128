"""Papermill by itself: what it is given as secrets is masked by our engine, or refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbook_lib.base import MASK
from runbook_lib.base.locations import repository_root

pytestmark = pytest.mark.timeout(180)

SECRET = "correct-horse-5e1b"
PARAMETERS = f"""
target: {{kind: lab, lab: none-such}}
istio: {{istiod: {{values: {{adminPassword: {SECRET}}}}}}}
"""


def papermill(folder: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a notebook whose lab is not there; returns what papermill says and writes."""
    file, executed = folder / "parameters.yaml", folder / "out.ipynb"
    file.write_text(PARAMETERS)
    notebook = repository_root() / "notebooks" / "04_mutual_tls.ipynb"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "papermill", "--no-progress-bar", *options),
            *(str(notebook), str(executed), "-f", str(file)),
        ],
        env={**os.environ, "RUNBOOK_RUN_DIR": str(folder / "run")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        check=False,
    )
    return done, executed.read_text()


def test_our_engine_masks_them_in_the_cell_and_in_the_metadata_and_gives_them_to_the_kernel(
    tmp_path: Path,
) -> None:
    done, written = papermill(tmp_path, "--engine", "runbook")
    assert "lab 'none-such' is not running" in done.stdout, "the parameters have arrived"
    assert SECRET not in done.stdout + written
    notebook = json.loads(written)
    given = notebook["metadata"]["papermill"]["parameters"]
    assert given["istio"] == {"istiod": {"values": {"adminPassword": MASK}}}
    (cell,) = [c for c in notebook["cells"] if "injected-parameters" in c["metadata"]["tags"]]
    assert MASK in "".join(cell["source"])
    assert cell["execution_count"]


def test_with_another_engine_nothing_is_done_and_it_is_said_what_to_delete(
    tmp_path: Path,
) -> None:
    done, _ = papermill(tmp_path)
    assert "papermill was given secrets, and has written them into" in done.stdout
    assert "delete that file; then use papermill --engine runbook" in done.stdout
    assert SECRET not in done.stdout
