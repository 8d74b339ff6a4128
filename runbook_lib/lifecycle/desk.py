"""What people decided in this kernel: about which plan, and whether it still counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from runbook_lib.lifecycle.plan import Plan


class Answer(StrEnum):
    """What a person can say to a plan."""

    APPROVED = "approved"
    SKIPPED = "skipped"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Ruling:
    """What a person decided about one plan.

    Attributes:
        answer: The decision.
        by: Who decided, as `user@host`.
        at: When, in UTC.
    """

    answer: Answer
    by: str
    at: datetime

    def __str__(self) -> str:
        """The decision in words."""
        return f"{self.answer} by {self.by} at {self.at:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def sentence(self) -> str:
        """The decision in words, to begin a sentence with."""
        text = str(self)
        return f"{text[0].upper()}{text[1:]}"


@dataclass(eq=False)
class Case:
    """One plan that was put before a person.

    Attributes:
        plan: The plan.
        ruling: The decision; None while there is none.
        closed: Why no decision is taken any more; empty while one can be.
        listeners: Called after every change, such as by what is shown of it.
    """

    plan: Plan
    ruling: Ruling | None = None
    closed: str = ""
    listeners: list[Callable[[], None]] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether it takes a decision: not once closed, nor after a stop."""
        stopped = self.ruling is not None and self.ruling.answer is Answer.STOPPED
        return not (self.closed or stopped)

    def changed(self) -> None:
        """Tell those who show it."""
        for listener in self.listeners:
            listener()


class Desk:
    """Keeps one case a step. Running a notebook again finds what was decided about the same plan.

    A decision holds for exactly one plan on one cluster. A stop holds for all of them, until the
    gate at which it was given is run again.
    """

    def __init__(self) -> None:
        self._cases: dict[tuple[str, str], Case] = {}
        self._stopped: Case | None = None

    @property
    def stopped(self) -> Case | None:
        """The case at which everything was stopped."""
        return self._stopped

    def put(self, plan: Plan) -> tuple[Case, Ruling | None]:
        """Put a plan before a person; lift a stop that was given here.

        Returns:
            Its case, and the ruling about another plan of the same step that is void now.
        """
        before = self._take(plan)
        case, void = Case(plan), None
        if before is not None:
            ruling = before.ruling
            if ruling is not None and ruling.answer is not Answer.STOPPED:
                if before.plan.digest == plan.digest:
                    case.ruling = ruling
                else:
                    void = ruling
            self._close(before, "this gate was run again")
        self._cases[_key(plan)] = case
        return case, void

    def rule(self, case: Case, ruling: Ruling) -> None:
        """Take a decision down, in place of an earlier one, if the case is open."""
        if not case.open:
            return
        case.ruling = ruling
        if ruling.answer is Answer.STOPPED:
            self._stopped = case
        case.changed()

    def asks(self, plan: Plan) -> bool:
        """Whether exactly this plan was put before a person."""
        case = self._cases.get(_key(plan))
        return case is not None and case.plan.digest == plan.digest

    def ruling(self, plan: Plan) -> Ruling | None:
        """Return what was decided about exactly this plan."""
        return self._cases[_key(plan)].ruling if self.asks(plan) else None

    def void(self, plan: Plan) -> Ruling | None:
        """Drop an approval that was given to another plan of the same step, and return it."""
        case = self._cases.get(_key(plan))
        if case is None or case.ruling is None or case.plan.digest == plan.digest:
            return None
        if case.ruling.answer is not Answer.APPROVED:
            return None
        ruling = case.ruling
        self._close(case, "the plan has changed since, so this decision is void")
        del self._cases[_key(plan)]
        return ruling

    def finish(self, plan: Plan, why: str) -> None:
        """Close the case of a step: its decision was carried out, or there is none to take."""
        case = self._take(plan)
        if case is not None:
            self._close(case, why)

    def _take(self, plan: Plan) -> Case | None:
        case = self._cases.pop(_key(plan), None)
        if case is not None and self._stopped is case:
            self._stopped = None
        return case

    @staticmethod
    def _close(case: Case, why: str) -> None:
        case.closed = why
        case.changed()


KERNEL = Desk()
"""The decisions of this kernel: they outlive the cell that opens the runbook."""


def _key(plan: Plan) -> tuple[str, str]:
    return plan.target_uid, plan.step
