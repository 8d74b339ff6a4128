"""The answers from outside over the time of a run, and the changes between, from its record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from runbook_lib.lifecycle import Answered, Probed, Record, StepRecord
from runbook_lib.mesh import traffic


def is_denied(answer: Answered) -> bool:
    """Whether the sidecar said no, by what policies imply or by its own words."""
    denied = traffic.DENIED
    if answer.status != denied.status:
        return False
    words = str(denied.body_contains)
    return words in answer.detail or (
        answer.method == "HEAD" and answer.ok and words in answer.expected
    )


def answer_text(answer: Answered) -> str:
    """The answer in a word or two."""
    if answer.status is None:
        return "no answer"
    return f"{answer.status}{' denied' if is_denied(answer) else ''}"


@dataclass(frozen=True)
class StepChange:
    """A step that changed something, or may have; or that was taken back.

    Attributes:
        at: When it was done, or when it began if nothing says how it ended; in UTC.
        step: Its name.
        what: What it changed, or why that cannot be told; or what was taken back.
    """

    at: datetime
    step: str
    what: tuple[str, ...]

    @property
    def text(self) -> str:
        """The change on one line."""
        return f"{self.step}: {', '.join(self.what)}"


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
    answers: tuple[Answered, ...]
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

    entries: tuple[StepChange | Answers, ...]

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
            if isinstance(entry, StepChange):
                text.append(f"{entry.at:%H:%M:%S}  * {entry.text}")
            else:
                text.append(_aligned(self._cells(entry), widths))
        return "\n".join(text)

    def answer(self, entry: Answers, request: tuple[str, str]) -> Answered | None:
        """Return the answer to one request in a round; None if it was not asked."""
        return next((a for a in entry.answers if (a.method, a.path) == request), None)

    def _cells(self, entry: Answers) -> list[str]:
        answers = [self.answer(entry, request) for request in self.requests]
        texts = [answer_text(answer) if answer else "-" for answer in answers]
        return [f"{entry.at:%H:%M:%S}", *texts, entry.text]

    def _sentences(self) -> Iterator[str]:
        for entry in self.entries:
            if isinstance(entry, StepChange):
                yield f"{entry.at:%H:%M:%S} changed by {entry.text}."
            else:
                answers = ", ".join(f"{a.method} {answer_text(a)}" for a in entry.answers)
                yield f"{entry.at:%H:%M:%S} {answers} ({entry.text})."


def of(run: Record) -> Timeline:
    """Return the timeline of a run; rounds without a difference are put together."""
    changes = [each for attempt in run.attempts if attempt.touched for each in _changes(attempt)]
    happened: list[StepChange | tuple[datetime, Probed]] = [*changes, *run.probes]
    entries: list[StepChange | Answers] = []
    changed: datetime | None = None
    for each in sorted(happened, key=_moment):
        if isinstance(each, StepChange):
            changed = each.at
            entries.append(each)
            continue
        seen = _round(*each, changed)
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


def _moment(each: StepChange | tuple[datetime, Probed]) -> datetime:
    return each.at if isinstance(each, StepChange) else each[0]


def _changes(attempt: StepRecord) -> Iterator[StepChange]:
    at = attempt.applied_at or attempt.changing_since
    if at is not None and (attempt.changed or attempt.changing_since):
        # Applied and proved or not: what was changed is known. Else only how it ended is.
        yield StepChange(at, attempt.step, attempt.changed or (attempt.outcome.text,))
    if attempt.taken_back and attempt.taken_back_at:
        objects = ", ".join(attempt.taken_back.objects)
        yield StepChange(attempt.taken_back_at, attempt.step, (f"taken back: {objects}",))


def _round(at: datetime, probed: Probed, changed: datetime | None) -> Answers:
    ok = all(answer.ok for answer in probed.answers)
    delay = (at - changed).total_seconds() if changed and ok else None
    return Answers(at, at, probed.answers, proved=probed.proved, delay=delay)


def _same(one: Answers, other: Answers) -> bool:
    def essence(entry: Answers) -> list[tuple[str, str, str, bool]]:
        return [(a.method, a.path, answer_text(a), a.ok) for a in entry.answers]

    return essence(one) == essence(other)


def _aligned(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
