"""The folders of earlier runs: what they are, and which may go."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from runbook_lib.lifecycle import runs


@dataclass(frozen=True)
class Kept:
    """The folder of a run.

    Attributes:
        folder: The folder.
        began: When its first event was recorded.
        cluster: The cluster's name; empty if no notebook got that far.
        steps: How many of its steps came to each outcome.
        state: Whether it goes on.
    """

    folder: Path
    began: datetime
    cluster: str
    steps: dict[str, int]
    state: str


def runs_in(root: Path) -> list[Kept]:
    """Return the runs below a folder, the earliest first; what holds no evidence is no run."""
    found = []
    for evidence in root.glob(f"*/{runs.EVIDENCE}"):
        folder = evidence.parent
        record = runs.record_of(folder)
        if record.began is None or folder.is_symlink():
            continue
        counts = Counter(step.outcome for step in record.steps)
        found.append(
            Kept(
                folder,
                record.began,
                record.started.target if record.started else "",
                {str(outcome): count for outcome, count in counts.items()},
                "goes on" if runs.in_use(folder) else "ended",
            )
        )
    return sorted(found, key=lambda kept: (kept.began, kept.folder.name))


def to_remove(
    found: Sequence[Kept], *, keep: int | None = None, before: datetime | None = None
) -> list[Kept]:
    """Return the runs that a limit is against; with two, those that both are against.

    Args:
        found: All runs, the earliest first.
        keep: How many of the latest stay.
        before: Those stay that began then or later.
    """
    old = found if keep is None else found[: max(0, len(found) - keep)]
    return [kept for kept in old if before is None or kept.began < before]


def remove(folder: Path) -> bool:
    """Remove the folder of a run, unless it goes on; returns whether it is gone."""
    with runs.unused(folder) as free:
        if free:
            shutil.rmtree(folder)
    return free
