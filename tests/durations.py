"""How long test files take: recorded by a run, and read to begin the next one with the longest.

Workers take files, and the files that share a server and a browser as one.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

TOGETHER = "tests/browser/"
"""A folder whose files share what is slow to start."""


def read(path: Path) -> dict[str, float]:
    """Return the seconds of each file, by its path from the repository."""
    recorded: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return recorded


def longest_first(items: list[pytest.Item], seconds: dict[str, float]) -> None:
    """Sort tests by the time of what goes to one worker.

    A file that was never recorded may take longer than any beside it: unit tests do not wait as
    those of labs do.
    """
    longest: defaultdict[str, float] = defaultdict(float)
    for file, took in seconds.items():
        longest[_kind(file)] = max(longest[_kind(file)], took)
    known: defaultdict[str, float] = defaultdict(float)
    for file in {_file(item.nodeid) for item in items}:
        known[_unit(file)] += seconds.get(file, math.nextafter(longest[_kind(file)], math.inf))
    items.sort(key=lambda item: -known[_unit(item.nodeid)])


def _kind(file: str) -> str:
    """The folder of `tests` that it is in."""
    return file.split("/")[1]


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _unit(nodeid: str) -> str:
    """What one worker takes as a whole."""
    return TOGETHER if nodeid.startswith(TOGETHER) else _file(nodeid)


class Scheduling(LoadFileScheduling):
    """Give whole files to workers, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return _unit(nodeid)


class Recorder:
    """A plugin of pytest that adds up the time of each file and keeps it when the run ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what it took to set up, to call and to tear down."""
        file = _file(report.nodeid)
        self._seconds[file] += report.duration
        if report.failed:
            self._failed.add(file)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Keep the new times, and the earlier ones of files that this run left out.

        A file in which a test failed says nothing about how long it takes, and neither does a run
        that was broken off.
        """
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return
        whole = {file: took for file, took in self._seconds.items() if file not in self._failed}
        known = {**read(self._path), **whole}
        there = {
            file: round(took, 1)
            for file, took in sorted(known.items())
            if (self._path.parents[1] / file).exists()
        }
        self._path.write_text(json.dumps(there, indent=2) + "\n", encoding="utf-8")
