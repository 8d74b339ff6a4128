"""What a diagnosis says: findings, what was looked at, and what could not be."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any, Self

from runbook_lib.lifecycle import Finding, Severity

_WIDTH = 96


@dataclass(frozen=True)
class Cause(Finding):
    """A finding that explains something: answers from outside, or other findings.

    Attributes:
        severity: A fault, or a chapter not run yet.
        outside: It explains answers that users get from outside.
        pods: The pods that fail, if it is about some that may fail for want of others.
        breaks: The pods whose calls it breaks, where that is known: it is no reason for others.
        chapter: The id of the chapter that is about it.
        consequences: What else it explains; these are no causes of their own.
    """

    severity: Severity = field(default=Severity.FAULT, kw_only=True)
    outside: bool = field(default=False, kw_only=True)
    pods: frozenset[str] = field(default=frozenset(), kw_only=True)
    breaks: frozenset[str] | None = field(default=None, kw_only=True)
    chapter: str = field(default="", kw_only=True)
    consequences: tuple[Cause, ...] = field(default=(), kw_only=True)

    def may_explain(self, other: Cause) -> bool:
        """Whether another may follow from it, as far as pods tell."""
        return self.breaks is None or other.pods <= self.breaks

    @classmethod
    def of(cls, finding: Finding, effect: str = "", **more: Any) -> Self:
        """Return a cause that preflight found, too, where it speaks of what would happen.

        Args:
            finding: What was found.
            effect: What comes of it now; left out, what the finding says.
            more: Fields of the cause.
        """
        return cls(
            finding.where,
            finding.what,
            effect or finding.effect,
            finding.remedy,
            # Preflight leaves out the object where it is the one that the finding is about.
            tuple(f"{finding.where} {e}" if e.startswith(".") else e for e in finding.evidence),
            parameter=finding.parameter,
            **{"link": finding.link, **more},
        )

    @property
    def reaches_outside(self) -> bool:
        """Whether it, or what follows from it, explains answers from outside."""
        return self.outside or any(each.reaches_outside for each in self.consequences)


@dataclass(frozen=True)
class Look:
    """Something that was looked at, or could not be.

    Attributes:
        what: What it is.
        found: What was found, or why nothing could be seen.
    """

    what: str
    found: str


@dataclass(frozen=True)
class Diagnosis:
    """The result of one look at everything.

    Attributes:
        findings: Causes, the likeliest first.
        looked: What was seen.
        unseen: What could not be seen, and why.
        unjudged: Names of the causes that for lack of it could not be judged.
    """

    findings: tuple[Cause, ...]
    looked: tuple[Look, ...]
    unseen: tuple[Look, ...] = ()
    unjudged: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def document(self) -> dict[str, Any]:
        """The diagnosis as plain data, for programs."""
        return {
            "causes": [
                {
                    "name": cause.name,
                    "where": cause.where,
                    "what": cause.what,
                    "effect": cause.effect,
                    "remedy": cause.remedy,
                    "evidence": list(cause.evidence),
                    "severity": str(cause.severity),
                }
                for cause in self.findings
            ],
            "looked": [{"what": each.what, "found": each.found} for each in self.looked],
            "unseen": [{"what": each.what, "why": each.found} for each in self.unseen],
            "unjudged": list(self.unjudged),
        }

    @property
    def headline(self) -> str:
        """The verdict in a line."""
        things = f"Looked at {len(self.looked)} things"
        if self.unseen:
            things += f", could not look at {len(self.unseen)}"
        if self.healthy:
            return f"✓ Nothing found. {things}."
        count = "1 cause" if len(self.findings) == 1 else f"{len(self.findings)} causes"
        return f"✗ Found {count}, the likeliest first. {things}."

    def __str__(self) -> str:
        """The diagnosis as text."""
        lines = [self.headline]
        for number, finding in enumerate(self.findings, 1):
            lines += ["", *_finding_lines(number, finding)]
        for title, looks in (("Looked at", self.looked), ("Could not look at", self.unseen)):
            if looks:
                width = max(len(look.what) for look in looks)
                lines += ["", title]
                lines += [f"  {look.what.ljust(width)}  {look.found}" for look in looks]
        if self.unjudged:
            lines += ["", f"Not judged for lack of that: {', '.join(self.unjudged)}"]
        return "\n".join(lines)


def details(finding: Cause) -> list[tuple[str, str]]:
    """Return what there is to say about a finding besides its cause: names and texts."""
    return [
        ("Where", finding.where),
        ("Symptom", finding.effect),
        *(("Evidence", line) for line in finding.evidence),
        ("Remedy", finding.way_out),
        *([("Chapter", finding.chapter)] if finding.chapter else []),
        ("Read", finding.link),
        *(("Follows", f"{each.name}: {each.effect}") for each in finding.consequences),
    ]


def _finding_lines(number: int, finding: Cause) -> list[str]:
    head = f"{number}. {finding.what} ({finding.severity}: {finding.name})"
    lines = textwrap.wrap(head, _WIDTH, subsequent_indent="   ")
    for name, text in details(finding):
        # Lines that people copy are not broken, whatever their length.
        lines.append(f"   {name + ':':<10}{text}")
    return lines
