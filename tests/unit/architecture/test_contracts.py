"""`make lint` fails on what the contracts of pyproject.toml forbid: each is broken here once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.locations import repository_root

ROOT = repository_root()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {contract["id"] for contract in PROJECT["tool"]["importlinter"]["contracts"]}

FORBIDDEN = [
    ("layers", "mesh/traffic.py", "from runbook_lib.diagnosis import model"),
    ("layers", "headless/run.py", "from runbook_lib.notebook import display"),
    ("layers", "chapters/shared/doors.py", "from runbook_lib.init import web"),
    ("layers", "unheard_of/__init__.py", ""),
    ("chapters", "chapters/policies/mutual_tls.py", "from runbook_lib.chapters.kiali import steps"),
    ("chapters", "chapters/shared/observe.py", "from runbook_lib.chapters.install import steps"),
    ("chapters", "chapters/unheard_of/__init__.py", ""),
    ("lab-from-outside", "lifecycle/target.py", "from runbook_lib.lab import lifecycle"),
    ("lab-extra", "tools/programs.py", "import psutil"),
    ("aws-extra", "lifecycle/target.py", "import boto3"),
    ("aws-extra", "tools/helm.py", "from botocore import config"),
    ("s3-extra", "headless/report/page.py", "import fsspec"),
    ("lab-to-outside", "lab/workloads/pods.py", "from runbook_lib.cluster import pods"),
    ("lab", "lab/network/dns.py", "from runbook_lib.lab.workloads import pods"),
    ("lab", "lab/unheard_of/__init__.py", ""),
    ("circles", "base/errors.py", "from runbook_lib.base import wait"),
]
"""A contract, a module below `runbook_lib`, and the line in it that breaks the contract. A module
that is not there is made: a package that nobody gave a layer."""


def lint(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def added(line: str, module: Path) -> Iterator[None]:
    before = module.read_text() if module.exists() else None
    module.parent.mkdir(exist_ok=True)
    module.write_text(f"{before or ''}\n{line}\n")
    try:
        yield
    finally:
        if before is None:
            shutil.rmtree(module.parent)
        else:
            module.write_text(before)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library and of its contracts."""
    copy = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copytree(
        ROOT / "runbook_lib",
        copy / "runbook_lib",
        ignore=lambda folder, names: [
            name for name in names if (Path(folder) / name).is_file() and not name.endswith(".py")
        ],
    )
    return copy


def test_the_library_keeps_every_contract(house: Path) -> None:
    done = lint(house)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


@pytest.mark.parametrize(("contract", "module", "line"), FORBIDDEN)
def test_an_import_that_a_contract_forbids_fails(
    house: Path, contract: str, module: str, line: str
) -> None:
    path = house / "runbook_lib" / module
    assert path.exists() or not line
    with added(line, path):
        done = lint(house, "--contract", contract)
    assert done.returncode == 1
    assert "0 kept, 1 broken" in done.stdout


def test_each_contract_is_broken_at_least_once() -> None:
    assert {contract for contract, _, _ in FORBIDDEN} == CONTRACTS
