"""What each step of a run makes others do, compared with what is stored.

Times depend on the machine, counts on the code: `make counts` stores them anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from runbook_lib.lifecycle import Record

STORED = Path(__file__).with_name("counts.json")

Counts = dict[str, dict[str, int]]
"""By step, or `NOTEBOOK: looking`, and by what is counted."""

_WAITING = ("apply", "verify")
"""Phases that look again and again until something has come about: a slow machine counts more."""

_SLACK = {"kernels": (1.0, 0), "requests": (1.3, 12), "requests, waiting": (2.5, 40)}
_SLACK |= {"helm": (1.0, 0), "istioctl": (1.0, 1), "kubectl": (2.0, 2), "bytes shown": (1.25, 1000)}
"""How many times as many, and how many more, are no regression. Ways to a pod, which kubectl opens,
are opened again while that waits to be ready; and a run renews its Lease every few seconds."""


def of(run: Record) -> Counts:
    """Count what a run recorded."""
    found: dict[str, Counter[str]] = {}
    for notebook, step, spent in run.spent:
        row = found.setdefault(step or f"{notebook}: looking", Counter())
        row["kernels"] += spent.phase == "start"
        row["requests, waiting" if spent.phase in _WAITING else "requests"] += spent.requests
        row["bytes shown"] += spent.shown_bytes
        row.update(spent.processes)
    return {name: {what: n for what, n in row.items() if n} for name, row in found.items()}


def stored() -> dict[str, Counts]:
    """Return what is stored, by the name of the run."""
    found: dict[str, Counts] = json.loads(STORED.read_text())
    return found


def store(name: str, counts: Counts) -> None:
    """Store what one run counted, and leave the others."""
    every = {**(stored() if STORED.exists() else {}), name: counts}
    STORED.write_text(json.dumps(every, indent=1) + "\n")


def more(found: Counts, known: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Name each step and count that has grown beyond what is stored."""
    for name, row in found.items():
        for what, count in row.items():
            before = known.get(name, {}).get(what, 0)
            times, plus = _SLACK.get(what, (1.0, 0))
            if count > times * before + plus:
                yield f"{name}: {count} {what}, and {before} are stored"
