"""pyproject.toml, environment.yml and constraints.txt speak of the same environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from runbook_lib.base.locations import repository_root

ROOT = repository_root()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())
CONSTRAINTS = (ROOT / "constraints.txt").read_text().splitlines()


def project_requirements() -> set[str]:
    extras = PROJECT["optional-dependencies"]
    listed = [*PROJECT["dependencies"], *(item for extra in extras.values() for item in extra)]
    return {item for item in listed if not item.startswith(f"{PROJECT['name']}[")}


def pip_section() -> list[str]:
    (section,) = [item["pip"] for item in ENVIRONMENT["dependencies"] if isinstance(item, dict)]
    assert isinstance(section, list)
    return section


def pinned() -> dict[str, str]:
    lines = [line for line in CONSTRAINTS if line and not line.startswith("#")]
    return {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines)
    }


def test_the_environment_lists_the_requirements_of_the_project() -> None:
    assert {item for item in pip_section() if not item.startswith("--")} == project_requirements()


def test_the_environment_installs_the_project_itself() -> None:
    assert pip_section()[-1] == "--editable ."


def test_the_environment_has_a_python_that_the_project_accepts() -> None:
    (python,) = [item for item in ENVIRONMENT["dependencies"] if str(item).startswith("python=")]
    version = python.removeprefix("python=")
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)


@pytest.mark.parametrize("requirement", sorted(project_requirements()))
def test_every_requirement_is_pinned_within_its_range(requirement: str) -> None:
    wanted = Requirement(requirement)
    assert wanted.specifier.contains(pinned()[canonicalize_name(wanted.name)])


def test_constraints_hold_exact_versions_and_no_places() -> None:
    for line in CONSTRAINTS:
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)


def test_the_project_is_not_among_its_own_constraints() -> None:
    assert canonicalize_name(PROJECT["name"]) not in pinned()


@pytest.mark.parametrize("python", ["3.11.2", "3.12", "3.13", "3.14"])
def test_the_constraints_hold_on_every_python_that_is_promised(python: str) -> None:
    """Resolved against the package index, without those interpreters."""
    resolved = subprocess.run(
        [
            *("uv", "pip", "compile", "--quiet", "--all-extras", "--python-version", python),
            *("--no-annotate", "--no-header", "--no-emit-package", PROJECT["name"]),
            *("--constraints", ROOT / "constraints.txt", ROOT / "pyproject.toml"),
        ],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert resolved.returncode == 0, resolved.stderr
    assert set(resolved.stdout.split()) <= set(CONSTRAINTS)
