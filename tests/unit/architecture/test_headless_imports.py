"""A kernel that nobody sits in front of loads what it needs, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
before = set(sys.modules)
from runbook_lib import Runbook
print(*sorted(set(sys.modules) - before))
"""

THIRD_PARTY = {
    "annotated_types",
    "click",  # httpx has a command line of its own and imports it with itself
    "httpx",
    "idna",
    "lazy_loader",
    "pydantic",
    "pydantic_core",
    "pygments",  # httpx's command line
    "rich",  # httpx's command line
    "typing_extensions",
    "typing_inspection",
    "yaml",
}
"""What `from runbook_lib import Runbook` loads from others; the cluster's client comes with the
first request."""

OF_OTHERS = (
    "runbook_lib.__main__",
    "runbook_lib.cli",
    "runbook_lib.headless",
    "runbook_lib.lab",
    "runbook_lib.notebook.views.login",
    "runbook_lib.notebook.widget",
)
"""What belongs to the command line, to the lab or to somebody in front of JupyterLab."""

AT_MOST = 313
"""Modules of the library; there are more than 390."""


@pytest.fixture(scope="module")
def loaded() -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=50, check=True
    )
    return done.stdout.split()


def test_of_others_packages_exactly_these_are_loaded(loaded: list[str]) -> None:
    packages = {name.partition(".")[0] for name in loaded}
    foreign = {name for name in packages if name not in sys.stdlib_module_names}
    assert {name for name in foreign if not name.startswith("_")} - {
        "cython_runtime",
        "runbook_lib",
    } == THIRD_PARTY


@pytest.mark.parametrize("module", OF_OTHERS)
def test_what_a_headless_kernel_has_no_use_for_is_not_loaded(
    loaded: list[str], module: str
) -> None:
    assert [name for name in loaded if f"{name}.".startswith(f"{module}.")] == []


def test_the_library_is_loaded_in_part(loaded: list[str]) -> None:
    own = [name for name in loaded if name.partition(".")[0] == "runbook_lib"]
    assert 50 < len(own) <= AT_MOST
