"""Files keep their history across the move into packages: `git log --follow` reaches back."""

from __future__ import annotations

import subprocess

import pytest

from runbook_lib.base.locations import repository_root

MOVED = {
    "runbook_lib/base/errors.py": "runbook_lib/errors.py",
    "runbook_lib/site/probe.py": "runbook_lib/probe.py",
    "runbook_lib/lab/workloads/containers.py": "runbook_lib/lab/containers.py",
    "tests/unit/site/test_probe.py": "tests/unit/test_probe.py",
}
"""Where files are, and where they were before."""


def git(*arguments: str) -> str:
    return subprocess.run(
        # Somebody else may own the checkout, as in a container.
        ["git", "-c", "safe.directory=*", *arguments],
        cwd=repository_root(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize(("now", "before"), MOVED.items())
def test_the_history_of_a_moved_file_goes_back_beyond_the_move(now: str, before: str) -> None:
    assert git("rev-parse", "--is-shallow-repository").strip() == "false", (
        "this clone holds only the newest commits: git fetch --unshallow"
    )
    names = git("log", "--follow", "--name-only", "--format=", "--", now).split()
    assert names[0] == now
    assert before in names
