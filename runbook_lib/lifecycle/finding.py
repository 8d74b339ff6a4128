"""What is wrong, or in the way: one kind of finding for preflight, refusals and the diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from runbook_lib.base import RunbookError


class Severity(StrEnum):
    """What a finding means for whoever reads it.

    `REFUSES`: a step that it concerns would fail half-way, so it does not begin. `NOTE`: people
    should know; steps deal with it. `FAULT`: something is broken. `NOT_DONE`: a chapter that mends
    it has not been run yet.
    """

    REFUSES = "refuses"
    NOTE = "note"
    FAULT = "fault"
    NOT_DONE = "not done yet"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or in the way.

    Attributes:
        where: The object, such as `Service xnat/xnat-web`.
        what: What is wrong with it: the cause.
        effect: What comes of it: what people notice, or what would fail.
        remedy: The command or notebook that mends it. It never removes anything unasked.
        evidence: The very lines or fields that show it, where `what` does not say them.
        parameter: The parameter by which a person may decide otherwise, with its value where that
            is known, such as `istio.revision: canary`; empty if there is none.
        severity: What it means.
        link: Where it is documented; may be empty.
        name: The name of the rule or check that found it, such as `webhook-missing`.
    """

    where: str
    what: str
    effect: str
    remedy: str
    evidence: tuple[str, ...] = ()
    parameter: str = field(default="", kw_only=True)
    severity: Severity = field(default=Severity.REFUSES, kw_only=True)
    link: str = field(default="", kw_only=True)
    name: str = field(default="", kw_only=True)

    @property
    def refuses(self) -> bool:
        """Whether steps that it concerns do not begin."""
        return self.severity is Severity.REFUSES

    @property
    def found(self) -> str:
        """What is wrong and where, with the evidence."""
        evidence = f" ({'; '.join(self.evidence)})" if self.evidence else ""
        return f"{self.where}: {self.what}{evidence}"

    @property
    def text(self) -> str:
        """What is wrong and where, and why that matters, on one line."""
        return f"{self.found}; {self.effect}"

    @property
    def sentence(self) -> str:
        """All of it, as a note in a plan says it."""
        return f"{self.text} ({self.way_out})."

    @property
    def way_out(self) -> str:
        """The remedy, and the parameter that decides otherwise."""
        return "; or set ".join(filter(None, (self.remedy, self.parameter)))


class Refused(RunbookError):
    """Something is in the way of a step, and nothing was changed.

    Attributes:
        findings: All that is in the way.
    """

    def __init__(self, *findings: Finding) -> None:
        self.findings = findings
        if len(findings) == 1:
            super().__init__(findings[0].text, findings[0].way_out)
            return
        lines = [f"{len(findings)} things are in the way:"]
        for number, each in enumerate(findings, 1):
            lines += [f"{number}. {each.text}", f"   → {each.way_out}"]
        super().__init__("\n".join(lines), "mend them, then run this again")


def require(findings: Iterable[Finding]) -> None:
    """Let a step begin only if nothing that was found refuses it.

    Raises:
        Refused: With everything that does.
    """
    refusing = tuple(each for each in findings if each.refuses)
    if refusing:
        raise Refused(*refusing)


def refusals(attempt: Callable[[], object]) -> tuple[Finding, ...]:
    """Return what refuses an attempt that only reads; empty if nothing does."""
    try:
        attempt()
    except Refused as refused:
        return refused.findings
    return ()
