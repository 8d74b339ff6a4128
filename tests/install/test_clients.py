"""The wheel as people install it on a jump host, with all that it needs from the package index."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import wheels
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheel"))


@pytest.mark.parametrize(
    "client",
    [("uv", "tool", "run", "--from"), ("uv", "tool", "run", "pipx", "run", "--spec")],
    ids=["uv tool run", "pipx run"],
)
def test_it_plans_the_whole_runbook(
    lab: Lab, wheel: Path, client: tuple[str, ...], tmp_path: Path
) -> None:
    done = subprocess.run(
        [*client, wheel, "istio-runbook", "plan"],
        cwd=tmp_path,
        env={**os.environ, "RUNBOOK_LAB": lab.name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Plan mode: nothing was changed." in done.stdout
    assert list(tmp_path.glob("runs/*/report.html"))
