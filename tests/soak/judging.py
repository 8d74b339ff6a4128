"""Whether what clients noticed was announced, and did not last longer than that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from runbook_lib.base import Entry
from runbook_lib.lifecycle import Client, Interruption
from runbook_lib.lifecycle.events import StepApplying, StepFailed, StepPlanned, StepVerified
from tests.soak.clients import Attempt

TOLERANCE = 2
"""Times the seconds that were announced."""

AT_ONCE = timedelta(seconds=3)
"""How long what fails once may take to succeed again."""


@dataclass(frozen=True)
class Window:
    """A time in which a step was carried out, and what it had announced."""

    step: str
    begin: datetime
    end: datetime
    announced: tuple[Interruption, ...]


@dataclass(frozen=True)
class Outage:
    """Tries of the same thing that failed one after the other."""

    attempts: tuple[Attempt, ...]
    end: datetime

    @property
    def first(self) -> Attempt:
        return self.attempts[0]

    @property
    def lasted(self) -> timedelta:
        """From the first failure until it succeeded again, or the last that was seen of it."""
        return self.end - self.first.ended

    def __str__(self) -> str:
        seconds = self.lasted.total_seconds()
        first = self.first
        return (
            f"{first.began:%H:%M:%S}: {first.client}: {first.what}: {first.problem}; "
            f"{len(self.attempts)} times, {seconds:.1f} s"
        )


def windows(entries: Iterable[Entry]) -> Iterator[Window]:
    """Yield when each step of a run changed something."""
    planned: dict[str, tuple[Interruption, ...]] = {}
    begun: dict[str, datetime] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, StepPlanned):
            planned[entry.step] = event.interruptions
        elif isinstance(event, StepApplying):
            begun[entry.step] = entry.at
        elif isinstance(event, StepVerified | StepFailed) and entry.step in begun:
            begin = begun.pop(entry.step)
            yield Window(entry.step, begin, entry.at, planned.get(entry.step, ()))


def outages(attempts: Iterable[Attempt]) -> Iterator[Outage]:
    """Yield what failed, without those that fail because of the same."""
    for _, same in groupby(sorted(attempts, key=_key), key=_key):
        failing: list[Attempt] = []
        for attempt in sorted(same, key=lambda each: each.began):
            if attempt.problem:
                failing.append(attempt)
            elif failing:
                yield Outage(tuple(failing), attempt.ended)
                failing = []
        if failing:
            yield Outage(tuple(failing), failing[-1].ended)


def unannounced(found: Iterable[Outage], announced: Iterable[Window]) -> list[str]:
    """Return the outages that nothing had announced, or that lasted too long, each in words."""
    known = list(announced)
    return [str(outage) for outage in found if not _explained(outage, known)]


def _explained(outage: Outage, announced: Iterable[Window]) -> bool:
    first = outage.first
    return any(
        _covers(window.announced, outage)
        for window in announced
        if first.ended >= window.begin and first.began <= window.end
    )


def _covers(announced: Iterable[Interruption], outage: Outage) -> bool:
    """Whether these explain every failure, and it was over in time.

    One may follow the other: nothing answers, and then whoever was logged in has to log in again.
    """
    theirs = [each for each in announced if outage.first.client in each.clients]
    used = {
        each
        for attempt in outage.attempts
        for each in [next((i for i in theirs if i.loss in attempt.losses), None)]
    }
    if None in used:
        return False
    seconds = [each.seconds for each in used if each is not None]
    if None in seconds:
        return True
    limit = TOLERANCE * timedelta(seconds=sum(filter(None, seconds)))
    # A try that lasts is no longer outage: what counts is that nothing succeeded meanwhile.
    return outage.lasted <= (limit or AT_ONCE) + _longest(outage)


def _longest(outage: Outage) -> timedelta:
    return max(attempt.ended - attempt.began for attempt in outage.attempts)


def _key(attempt: Attempt) -> tuple[Client, str]:
    return attempt.client, attempt.what
