"""Test files begin in the order of recorded times, and a run records them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runbook_lib.base.locations import repository_root
from tests.durations import read

pytest_plugins = "pytester"

PASSES = "def test_it() -> None:\n    pass\n"
FAILS = "def test_it() -> None:\n    assert False\n"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """Three files and a record of two of them, with our own way to order and record."""
    tests = pytester.mkdir("tests")
    own = repository_root() / "tests" / "durations.py"
    (tests / "durations.py").write_text(own.read_text())
    (tests / "durations.json").write_text(
        json.dumps({"tests/test_a.py": 1, "tests/test_b.py": 9, "tests/test_gone.py": 99})
    )
    for name in ("a", "b", "new"):
        (tests / f"test_{name}.py").write_text(PASSES)
    (tests / "conftest.py").write_text(
        "from pathlib import Path\n"
        "from durations import Recorder, longest_first, read\n"
        "FILE = Path(__file__).with_name('durations.json')\n"
        "def pytest_configure(config):\n"
        "    config.pluginmanager.register(Recorder(FILE))\n"
        "def pytest_collection_modifyitems(items):\n"
        "    longest_first(items, read(FILE))\n"
    )
    return pytester


def order(suite: pytest.Pytester) -> list[str]:
    lines = suite.runpytest_subprocess("--collect-only", "-q").outlines
    return [line.partition("::")[0] for line in lines if "::" in line]


def test_the_longest_file_begins_after_those_that_were_never_recorded(
    suite: pytest.Pytester,
) -> None:
    assert order(suite) == ["tests/test_new.py", "tests/test_b.py", "tests/test_a.py"]


def test_a_run_records_its_files_and_keeps_the_times_of_others(suite: pytest.Pytester) -> None:
    suite.runpytest_subprocess("tests/test_a.py").assert_outcomes(passed=1)
    recorded = read(suite.path / "tests" / "durations.json")
    assert recorded.keys() == {"tests/test_a.py", "tests/test_b.py"}
    assert recorded["tests/test_a.py"] < 1
    assert recorded["tests/test_b.py"] == 9


def test_a_run_that_fails_records_nothing(suite: pytest.Pytester) -> None:
    record: Path = suite.path / "tests" / "durations.json"
    before = record.read_text()
    (suite.path / "tests" / "test_a.py").write_text(FAILS)
    suite.runpytest_subprocess().assert_outcomes(passed=2, failed=1)
    assert record.read_text() == before


def test_the_record_holds_files_that_exist() -> None:
    root = repository_root()
    record = read(root / "tests" / "durations.json")
    assert [file for file in record if not (root / file).is_file()] == []
