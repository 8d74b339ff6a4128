"""The answers from outside over the time of a run, and the changes between: from evidence alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from runbook_lib.base import evidence
from runbook_lib.mesh import traffic

Event = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One request's answer.

    Attributes:
        method: The request's method.
        path: Its path.
        status: HTTP status; empty if there was no answer.
        detail: Start of the answer's body, or why there was none.
        expected: The answer that the policies in force imply.
        ok: Whether it is that answer.
    """

    method: str
    path: str
    status: str
    detail: str
    expected: str
    ok: bool

    @property
    def denied(self) -> bool:
        """Whether the sidecar said no, by what policies imply or by its own words."""
        denied = traffic.DENIED
        if self.status != str(denied.status):
            return False
        words = str(denied.body_contains)
        return words in self.detail or (
            self.method == "HEAD" and self.ok and words in self.expected
        )

    @property
    def text(self) -> str:
        """The answer in a word or two."""
        return f"{self.status}{' denied' if self.denied else ''}" if self.status else "no answer"


@dataclass(frozen=True)
class Change:
    """A step that was applied.

    Attributes:
        at: When, in UTC.
        step: Its name.
        changes: What it changed.
    """

    at: datetime
    step: str
    changes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The change on one line."""
        return f"{self.step}: {', '.join(self.changes)}"


@dataclass(frozen=True)
class Answers:
    """The answers of a round, and of the rounds after it that were no different.

    Attributes:
        at: When they were first seen, in UTC.
        until: When they were last seen.
        answers: One for each request.
        proved: Whether they were right several times in a row.
        delay: Seconds from the last change until they were first seen; None if there was none, or
            if they are not what the policies imply.
    """

    at: datetime
    until: datetime
    answers: tuple[Answer, ...]
    proved: bool
    delay: float | None = None

    @property
    def ok(self) -> bool:
        """Whether all answers are those that the policies imply."""
        return all(answer.ok for answer in self.answers)

    @property
    def text(self) -> str:
        """What to say about them as a whole."""
        if not self.ok:
            awaited = [f"{a.method} {a.expected}" for a in self.answers if not a.ok]
            return f"not yet: {', '.join(awaited)}"
        delay = "" if self.delay is None else f", {self.delay:.1f} s after the change"
        return f"{'proved' if self.proved else 'as expected'}{delay}"


@dataclass(frozen=True)
class Timeline:
    """A run's answers and changes, oldest first."""

    entries: tuple[Change | Answers, ...]

    title = "Answers from outside over time, and the changes between (UTC)"

    @property
    def requests(self) -> tuple[tuple[str, str], ...]:
        """Method and path of each request, in the order of their first appearance."""
        found = [(a.method, a.path) for entry in self.rounds for a in entry.answers]
        return tuple(dict.fromkeys(found))

    @property
    def headings(self) -> tuple[str, ...]:
        """What to call each request: paths only where they differ."""
        paths = {path for _, path in self.requests}
        return tuple(f"{m} {p}" if len(paths) > 1 else m for m, p in self.requests)

    @property
    def rounds(self) -> tuple[Answers, ...]:
        """The answers alone."""
        return tuple(entry for entry in self.entries if isinstance(entry, Answers))

    @property
    def summary(self) -> str:
        """The whole of it in sentences, as an alternative to the picture."""
        return " ".join(self._sentences()) or "Nothing was asked or changed yet."

    def __str__(self) -> str:
        """The same as text, one line a change or a round of answers."""
        if not self.entries:
            return f"{self.title}\nnothing was asked or changed yet"
        head = ["time", *self.headings, ""]
        lines = [head, *(self._cells(entry) for entry in self.rounds)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [self.title, _aligned(head, widths)]
        for entry in self.entries:
            if isinstance(entry, Change):
                text.append(f"{entry.at:%H:%M:%S}  * {entry.text}")
            else:
                text.append(_aligned(self._cells(entry), widths))
        return "\n".join(text)

    def answer(self, entry: Answers, request: tuple[str, str]) -> Answer | None:
        """Return the answer to one request in a round; None if it was not asked."""
        return next((a for a in entry.answers if (a.method, a.path) == request), None)

    def _cells(self, entry: Answers) -> list[str]:
        answers = [self.answer(entry, request) for request in self.requests]
        texts = [answer.text if answer else "-" for answer in answers]
        return [f"{entry.at:%H:%M:%S}", *texts, entry.text]

    def _sentences(self) -> Iterator[str]:
        for entry in self.entries:
            if isinstance(entry, Change):
                yield f"{entry.at:%H:%M:%S} changed by {entry.text}."
            else:
                answers = ", ".join(f"{a.method} {a.text}" for a in entry.answers)
                yield f"{entry.at:%H:%M:%S} {answers} ({entry.text})."


def of_run(path: Path) -> Timeline:
    """Return the timeline of the run whose evidence is in `path`."""
    return from_events(evidence.read(path))


def from_events(events: Iterable[Event]) -> Timeline:
    """Return the timeline of a run's events; rounds without a difference are put together."""
    entries: list[Change | Answers] = []
    changed: datetime | None = None
    for event in events:
        if event["event"] == "step-applied" and event["changed"]:
            changed = datetime.fromisoformat(event["time"])
            entries.append(Change(changed, event["step"], tuple(event["changed"])))
        elif event["event"] == "probe":
            seen = _round(event, changed)
            before = entries[-1] if entries else None
            if isinstance(before, Answers) and _same(before, seen):
                seen = replace(before, until=seen.at, proved=before.proved or seen.proved)
                entries[-1] = seen
            else:
                entries.append(seen)
            if seen.ok:
                # What is seen later is no effect of that change any more.
                changed = None
    return Timeline(tuple(entries))


def _round(event: Event, changed: datetime | None) -> Answers:
    at = datetime.fromisoformat(event["time"])
    answers = tuple(
        Answer(method, path, "" if status == "-" else status, detail, expected, ok == "yes")
        for method, path, status, detail, expected, ok in event["rows"]
    )
    ok = all(answer.ok for answer in answers)
    delay = (at - changed).total_seconds() if changed and ok else None
    return Answers(at, at, answers, proved=event["proved"], delay=delay)


def _same(one: Answers, other: Answers) -> bool:
    def essence(entry: Answers) -> list[tuple[str, str, str, bool]]:
        return [(a.method, a.path, a.text, a.ok) for a in entry.answers]

    return essence(one) == essence(other)


def _aligned(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
