"""Tables: what checks and verifications show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.site import ProbeTable


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading.

    Attributes:
        title: What the rows are about.
        columns: Column names.
        rows: One tuple a row, a text for each column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """The table as aligned text."""
        if not self.rows:
            return "\n".join(filter(None, [self.title, "none"]))
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
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
    rows = tuple((check.subject, check.found, yes_no(check.ok)) for check in checks)
    return Table(title, ("check", "found", "ok"), rows)


def of_probes(title: str, probes: ProbeTable) -> Table:
    """Return a table with one row a probe."""
    rows = []
    for row in probes.rows:
        expected, observed = row.probe.expected, row.observed
        rows.append(
            (
                row.probe.method,
                row.probe.path,
                str(observed.status or "-"),
                observed.error or observed.excerpt,
                f"{expected.status} {expected.body_contains or ''}".strip(),
                yes_no(row.ok),
            )
        )
    columns = ("method", "path", "status", "body", "expected", "ok")
    return Table(title, columns, tuple(rows))


def yes_no(ok: bool | None) -> str:
    """Say it in a word that stands out when it is bad news."""
    return "-" if ok is None else "yes" if ok else "NO"
