"""What a run's journal says, folded once: of every step what happened, when, and by whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from runbook_lib.base import Entry, Event, journal
from runbook_lib.lifecycle.before import Before
from runbook_lib.lifecycle.events import (
    NotebookStarted,
    PodsAsked,
    Probed,
    Sampled,
    Spent,
    StepApplied,
    StepApplying,
    StepApproved,
    StepFailed,
    StepLeft,
    StepPlanned,
    StepSkipped,
    StepTakenBack,
    StepVerified,
)
from runbook_lib.lifecycle.outcome import StepOutcome

_REMEMBERED = 256
"""Records that a kernel keeps: plans look at those of earlier runs again and again."""


@dataclass(frozen=True)
class StepRecord:
    """One attempt at a step, from its plan on.

    Attributes:
        notebook: Its notebook.
        step: Its name.
        outcome: How far it came.
        planned: The plan that was shown.
        approved: Who approved it, how and when; None if no one did, or had to.
        changing_since: When its change began; None if none did.
        applied: What was changed.
        applied_at: When that was done.
        verified: What proved it.
        verified_at: When that was done.
        failed: Why it came no further; None again once it did.
        before: Where it can go back to; None if it cannot, or changed nothing.
        taken_back: What was taken back of it.
        taken_back_at: When that was done.
        left: Why nothing was taken back, where that was tried or asked for.
        sampled: The answers from outside meanwhile.
    """

    notebook: str
    step: str
    outcome: StepOutcome = StepOutcome.NOT_RUN
    planned: StepPlanned | None = None
    approved: StepApproved | None = None
    changing_since: datetime | None = None
    applied: StepApplied | None = None
    applied_at: datetime | None = None
    verified: StepVerified | None = None
    verified_at: datetime | None = None
    failed: StepFailed | None = None
    sampled: Sampled | None = None
    before: Before | None = None
    taken_back: StepTakenBack | None = None
    taken_back_at: datetime | None = None
    left: StepLeft | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """What was changed, in words."""
        return self.applied.changed if self.applied else ()

    @property
    def pending(self) -> bool:
        """Whether its plan would leave something changed, and it came no further."""
        planned = self.planned.changes if self.planned else ()
        return self.outcome is StepOutcome.PLANNED and any(change.lasts for change in planned)

    @property
    def touched(self) -> bool:
        """Whether it changed something, or may have; or was taken back, as an earlier run's."""
        return self.changing_since is not None or bool(self.changed or self.taken_back)

    @property
    def seconds(self) -> float:
        """Time spent applying and verifying."""
        return sum(done.seconds for done in (self.applied, self.verified) if done)

    def after(self, entry: Entry) -> StepRecord:
        """The same with one more event of this attempt."""
        match entry.event:
            case StepPlanned() as planned:
                return replace(self, planned=planned, outcome=StepOutcome.PLANNED)
            case StepApproved() as approved:
                return replace(self, approved=approved, outcome=StepOutcome.PLANNED, failed=None)
            case StepSkipped():
                return replace(self, outcome=StepOutcome.SKIPPED, failed=None)
            case StepApplying(before=before):
                begun = replace(self, changing_since=entry.at, failed=None, before=before)
                return replace(begun, outcome=StepOutcome.INTERRUPTED)
            case StepApplied() as applied:
                done = replace(self, applied=applied, applied_at=entry.at, failed=None)
                return replace(done, outcome=StepOutcome.APPLIED)
            case StepVerified() as verified:
                proved = replace(self, verified=verified, verified_at=entry.at, failed=None)
                return replace(proved, outcome=StepOutcome.VERIFIED)
            case StepFailed() as failed:
                return replace(self, failed=failed, outcome=failed.outcome)
            case StepTakenBack() as taken:
                back = replace(self, taken_back=taken, taken_back_at=entry.at, left=None)
                return replace(back, outcome=StepOutcome.TAKEN_BACK)
            case StepLeft() as left:
                return replace(self, left=left)
            case Sampled() as sampled:
                return replace(self, sampled=sampled)
            case _:
                return self


@dataclass(frozen=True)
class Record:
    """What one run did.

    Attributes:
        run: Its name; empty if nothing was recorded.
        began: When its first event was recorded.
        ended: When its last one was.
        started: The cluster it works on, and how; None if no notebook got that far.
        attempts: Every attempt at a step, in the order of their plans.
        probes: The rounds of answers from outside, and when.
        asked: What pods were answered by pods.
        spent: What cells, and steps in them, have taken: notebook, step or nothing, and that.
        unreadable: Numbers of lines of the journal that are lost.
    """

    run: str = ""
    began: datetime | None = None
    ended: datetime | None = None
    started: NotebookStarted | None = None
    attempts: tuple[StepRecord, ...] = ()
    probes: tuple[tuple[datetime, Probed], ...] = ()
    asked: tuple[PodsAsked, ...] = ()
    spent: tuple[tuple[str, str, Spent], ...] = ()
    unreadable: tuple[int, ...] = field(default=(), kw_only=True)

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """The last attempt at each step, in the order in which they were first planned."""
        last = {(attempt.notebook, attempt.step): attempt for attempt in self.attempts}
        return tuple(last.values())

    def step(self, notebook: str, step: str) -> StepRecord:
        """The last attempt at one step; if there was none, one that was not run."""
        found = (s for s in self.steps if (s.notebook, s.step) == (notebook, step))
        return next(found, StepRecord(notebook, step))

    def after(self, entry: Entry) -> Record:
        """The same with one more event."""
        record = replace(
            self, run=self.run or entry.run, began=self.began or entry.at, ended=entry.at
        )
        match entry.event:
            case NotebookStarted() as started:
                return replace(record, started=record.started or started)
            case Probed() as probed:
                record = replace(record, probes=(*record.probes, (entry.at, probed)))
            case PodsAsked() as asked:
                record = replace(record, asked=(*record.asked, asked))
            case Spent() as spent:
                own = (entry.notebook, entry.step, spent)
                return replace(record, spent=(*record.spent, own))
        return record._after_step(entry) if entry.step else record

    def _after_step(self, entry: Entry) -> Record:
        """The same with one more event of a step: of its last attempt, or of a new one."""
        key = (entry.notebook, entry.step)
        own = [i for i, each in enumerate(self.attempts) if (each.notebook, each.step) == key]
        attempts = list(self.attempts)
        if own and not _begins(entry.event):
            attempts[own[-1]] = attempts[own[-1]].after(entry)
        elif (begun := StepRecord(*key).after(entry)) != StepRecord(*key):
            attempts.append(begun)
        return replace(self, attempts=tuple(attempts))


def _begins(event: Event) -> bool:
    return isinstance(event, StepPlanned) or (
        isinstance(event, StepFailed) and event.phase == "plan"
    )


def of(path: Path) -> Record:
    """Return the record of the run whose journal is at `path`; one that grew is read anew."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return Record()
    return _of(path, now.st_size, now.st_mtime_ns)


@lru_cache(_REMEMBERED)
def _of(path: Path, _size: int, _changed: int) -> Record:
    history = journal.read(path)
    return replace(fold(history.entries), unreadable=history.unreadable)


def fold(entries: Iterable[Entry]) -> Record:
    """Return the record that a run's entries make, oldest first."""
    record = Record()
    for entry in entries:
        record = record.after(entry)
    return record
