"""Tables: what checks and verifications show, and what each row is worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from runbook_lib.site import ProbeTable


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        cells: A text for each column.
        ok: Whether it is as it should be; None if it is only shown, or cannot be told.
    """

    cells: tuple[str, ...]
    ok: bool | None = None


@dataclass(frozen=True)
class Table:
    """Rows under a heading. Verdicts are values; only what shows a table puts them into words.

    Attributes:
        title: What the rows are about.
        columns: Column names.
        rows: The rows, a cell for each column.
        counts: Whether the verdicts count for what a verification proves. Those about what was
            wrong before a step changed anything do not.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    counts: bool = True

    @classmethod
    def shown(cls, title: str, columns: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> Self:
        """Return a table that only shows and judges nothing."""
        return cls(title, columns, tuple(map(Row, lines)))

    @property
    def ok(self) -> bool:
        """Whether no row is otherwise than it should be."""
        return all(row.ok is not False for row in self.rows)

    @property
    def proved(self) -> bool:
        """Whether every row is as it should be, none left open."""
        return all(row.ok for row in self.rows)

    @property
    def judged(self) -> bool:
        """Whether a row of it has a verdict: then the verdicts are shown as well."""
        return any(row.ok is not None for row in self.rows)

    def __str__(self) -> str:
        """The table as aligned text."""
        if not self.rows:
            return "\n".join(filter(None, [self.title, "none"]))
        lines = [self.columns, *(row.cells for row in self.rows)]
        if self.judged:
            verdicts = ["ok", *(yes_no(row.ok) for row in self.rows)]
            lines = [(*line, verdict) for line, verdict in zip(lines, verdicts, strict=True)]
        text = aligned(lines)
        return "\n".join([self.title, *text] if self.title else text)


@dataclass(frozen=True)
class Check:
    """One fact that was looked at.

    Attributes:
        subject: What was looked at.
        found: What was found.
        ok: Whether it is as it should be; None for a fact that is only shown.
    """

    subject: str
    found: str
    ok: bool | None


def all_ok(checks: Sequence[Check]) -> bool:
    """Whether nothing is otherwise than it should be."""
    return all(check.ok is not False for check in checks)


def of_checks(title: str, checks: Sequence[Check]) -> Table:
    """Return a table with one row a check."""
    rows = tuple(Row((check.subject, check.found), check.ok) for check in checks)
    return Table(title, ("check", "found"), rows)


def of_probes(title: str, probes: ProbeTable) -> Table:
    """Return a table with one row a probe."""
    rows = []
    for row in probes.rows:
        expected, observed = row.probe.expected, row.observed
        cells = (
            row.probe.method,
            row.probe.path,
            str(observed.status or "-"),
            _unless(row.hidden, observed.error or observed.excerpt),
            expected.text,
        )
        rows.append(Row(cells, row.ok))
    return Table(title, ("method", "path", "status", "body", "expected"), tuple(rows))


def _unless(hidden: str, text: str) -> str:
    """Say of an answer that it is not the pods' own, where a header shows that."""
    return f"{text} (not the pods' answer: {hidden})".strip() if hidden else text


def yes_no(ok: bool | None) -> str:
    """Say it in a word that stands out when it is bad news."""
    return "-" if ok is None else "yes" if ok else "NO"


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of cells as text in columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
