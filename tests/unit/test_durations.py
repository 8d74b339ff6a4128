"""Test files begin in the order of recorded times, and a run records them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from runbook_lib.base.locations import repository_root
from tests.durations import Recorder, Scheduling, longest_first, read


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A record of two files that are there and of one that has been deleted."""
    tests = tmp_path / "tests"
    tests.mkdir()
    for name in ("a", "b", "new"):
        (tests / f"test_{name}.py").touch()
    path = tests / "durations.json"
    path.write_text(json.dumps({"tests/test_a.py": 1, "tests/test_b.py": 9, "tests/gone.py": 99}))
    return path


def ran(recorder: Recorder, file: str, *seconds: float, failed: bool = False) -> None:
    for duration in seconds:
        report = SimpleNamespace(nodeid=f"tests/{file}::test_it", duration=duration, failed=failed)
        recorder.pytest_runtest_logreport(cast(pytest.TestReport, report))


def test_the_longest_file_begins_after_those_beside_it_that_were_never_recorded() -> None:
    seconds = {"tests/lab/test_a.py": 10, "tests/lab/test_b.py": 90, "tests/unit/test_c.py": 1}
    names = [*seconds, "tests/unit/test_new.py", "tests/lab/test_new.py"]
    items = [SimpleNamespace(nodeid=f"{name}::test_{n}") for name in names for n in (2, 1)]
    longest_first(cast(list[pytest.Item], items), seconds)
    assert [item.nodeid.removeprefix("tests/") for item in items] == [
        *("lab/test_new.py::test_2", "lab/test_new.py::test_1"),
        *("lab/test_b.py::test_2", "lab/test_b.py::test_1"),
        *("lab/test_a.py::test_2", "lab/test_a.py::test_1"),
        *("unit/test_new.py::test_2", "unit/test_new.py::test_1"),
        *("unit/test_c.py::test_2", "unit/test_c.py::test_1"),
    ]


def test_a_run_records_its_files_and_keeps_the_times_of_others(record: Path) -> None:
    recorder = Recorder(record)
    ran(recorder, "test_a.py", 0.5, 2.25, 0.5)
    ran(recorder, "test_new.py", 4)
    recorder.pytest_sessionfinish(pytest.ExitCode.OK)
    assert read(record) == {"tests/test_a.py": 3.2, "tests/test_b.py": 9, "tests/test_new.py": 4}


def test_a_file_that_fails_keeps_the_time_that_it_had(record: Path) -> None:
    recorder = Recorder(record)
    ran(recorder, "test_a.py", 0.1, failed=True)
    ran(recorder, "test_b.py", 5)
    recorder.pytest_sessionfinish(pytest.ExitCode.TESTS_FAILED)
    assert read(record) == {"tests/test_a.py": 1, "tests/test_b.py": 5}


def test_a_run_that_is_broken_off_records_nothing(record: Path) -> None:
    before = record.read_text()
    recorder = Recorder(record)
    ran(recorder, "test_a.py", 0.1)
    recorder.pytest_sessionfinish(pytest.ExitCode.INTERRUPTED)
    assert record.read_text() == before


def test_files_of_the_browser_go_to_one_worker_and_begin_by_their_sum() -> None:
    names = ["lab/test_c", "browser/test_a", "browser/test_b"]
    items = [SimpleNamespace(nodeid=f"tests/{name}.py::test_it") for name in names]
    seconds = {f"tests/{name}.py": 3.0 + place for place, name in enumerate(reversed(names))}
    longest_first(cast(list[pytest.Item], items), seconds)
    assert [item.nodeid.split("/")[1] for item in items] == ["browser", "browser", "lab"]
    split = {Scheduling._split_scope(cast(Scheduling, None), item.nodeid) for item in items}
    assert split == {"tests/browser/", "tests/lab/test_c.py"}


def test_the_record_holds_files_that_exist() -> None:
    root = repository_root()
    known = read(root / "tests" / "durations.json")
    assert [file for file in known if not (root / file).is_file()] == []
