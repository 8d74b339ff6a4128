"""How long test files take: recorded by a run, and read to begin the next one with the longest."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

import pytest


def read(path: Path) -> dict[str, float]:
    """Return the seconds of each file, by its path from the repository."""
    recorded: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return recorded


def longest_first(items: list[pytest.Item], seconds: dict[str, float]) -> None:
    """Sort tests by the time of their file; one that was never recorded may be the longest."""
    items.sort(key=lambda item: -seconds.get(_file(item.nodeid), math.inf))


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


class Recorder:
    """A plugin of pytest that adds up the time of each file and keeps it when the run ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what it took to set up, to call and to tear down."""
        self._seconds[_file(report.nodeid)] += report.duration

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Keep the new times, and the earlier ones of files that this run left out.

        A run that failed says nothing about how long its files take.
        """
        if exitstatus:
            return
        known = {**read(self._path), **self._seconds}
        there = {
            file: round(took, 1)
            for file, took in sorted(known.items())
            if (self._path.parents[1] / file).exists()
        }
        self._path.write_text(json.dumps(there, indent=2) + "\n", encoding="utf-8")
