"""What was decided in this kernel: about which plan, by whom, and whether it still counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from runbook_lib.base import NotApproved, PlanChanged
from runbook_lib.lifecycle.plan import Plan


class GateAnswer(StrEnum):
    """What can be decided about a plan."""

    APPROVED = "approved"
    SKIPPED = "skipped"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Ruling:
    """What was decided about one plan.

    Attributes:
        answer: The decision.
        by: Who decided, as `user@host`.
        how: How, or by which rule.
        at: When, in UTC.
    """

    answer: GateAnswer
    by: str
    how: str
    at: datetime

    def __str__(self) -> str:
        """The decision in words."""
        return f"{self.answer} by {self.by} at {self.at:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def sentence(self) -> str:
        """The decision in words, to begin a sentence with."""
        text = str(self)
        return f"{text[0].upper()}{text[1:]}"


APPLIED = "it was applied"
"""Why a case is closed whose plan was carried out."""


@dataclass(eq=False)
class Case:
    """One plan about which something is to be decided.

    Attributes:
        plan: The plan.
        ruling: The decision; None while there is none.
        closed: Why no decision is taken any more; empty while one can be.
        underway: Whether it is being carried out.
        listeners: Called after every change, such as by what is shown of it.
    """

    plan: Plan
    ruling: Ruling | None = None
    closed: str = ""
    underway: bool = False
    listeners: list[Callable[[], None]] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether it takes any decision: not once it is carried out or closed, nor after a stop."""
        return not (self.closed or self.underway or self._is_stopped)

    def takes(self, answer: GateAnswer) -> bool:
        """Whether a decision still means something.

        A stop does as long as the gate has not been run again: while the plan is carried out, and
        afterwards, because a click may arrive late.
        """
        if answer is GateAnswer.STOPPED:
            return not self._is_stopped and self.closed in ("", APPLIED)
        return self.open

    @property
    def _is_stopped(self) -> bool:
        return self.ruling is not None and self.ruling.answer is GateAnswer.STOPPED

    def changed(self) -> None:
        """Tell those who show it."""
        for listener in self.listeners:
            listener()


class Approvals:
    """Keeps one case a step. Running a notebook again finds what was decided about the same plan.

    A decision holds for exactly one plan on one cluster. A stop holds for all of them, until the
    gate at which it was given is run again.
    """

    def __init__(self) -> None:
        self._cases: dict[str, Case] = {}
        self._stopped: Case | None = None

    def put(self, plan: Plan) -> tuple[Case, Ruling | None]:
        """Ask for a decision about a plan; lift a stop that was given here.

        Returns:
            Its case, and the ruling about another plan of the same step that is void now.
        """
        self.lift(plan)
        before = self._cases.pop(plan.step, None)
        case, void = Case(plan), None
        if before is not None:
            ruling = before.ruling
            if ruling is not None and ruling.answer is not GateAnswer.STOPPED:
                if before.plan.digest == plan.digest:
                    case.ruling = ruling
                else:
                    void = ruling
            self._close(before, "this gate was run again")
        self._cases[plan.step] = case
        return case, void

    def rule(self, case: Case, ruling: Ruling) -> None:
        """Take a decision down, in place of an earlier one, if the case takes it."""
        if not case.takes(ruling.answer):
            return
        case.ruling = ruling
        if ruling.answer is GateAnswer.STOPPED:
            self._stopped = case
        case.changed()

    def asks(self, plan: Plan) -> bool:
        """Whether a decision about exactly this plan was asked for."""
        case = self._cases.get(plan.step)
        return case is not None and case.plan.digest == plan.digest

    def ruling(self, plan: Plan) -> Ruling | None:
        """Return what was decided about exactly this plan."""
        return self._cases[plan.step].ruling if self.asks(plan) else None

    def require(self, plan: Plan) -> Ruling | None:
        """Return the approval of exactly this plan; None if there is no decision, or another.

        Raises:
            NotApproved: Everything was stopped.
            PlanChanged: There is an approval of another plan of the same step; it is void now.
        """
        self._refuse_if_stopped(plan)
        case = self._cases.get(plan.step)
        if case is None or case.ruling is None or case.ruling.answer is not GateAnswer.APPROVED:
            return None
        if case.plan.digest == plan.digest:
            return case.ruling
        self.close(plan, "the plan has changed since, so this decision is void")
        raise PlanChanged(
            f"{plan.step}: the plan is no longer the one that was {case.ruling}, so that approval "
            f"is void; it is now: {plan.summary}",
            "run the plan and the gate again, and read what has changed",
        )

    def close(self, plan: Plan, why: str) -> None:
        """Close the case of a step: its decision was carried out, is void, or not needed."""
        case = self._cases.pop(plan.step, None)
        if case is not None:
            self._close(case, why)

    def lift(self, plan: Plan) -> None:
        """Go on after a stop that was given at the gate of this step: it is run again."""
        if self._stopped is not None and self._stopped.plan.step == plan.step:
            self._stopped = None

    @contextmanager
    def carrying_out(self, plan: Plan) -> Iterator[None]:
        """Within the block a plan is applied: nothing can be decided about it but a stop.

        Raises:
            NotApproved: Everything was stopped just now.
        """
        self._refuse_if_stopped(plan)
        case = self._cases.get(plan.step, Case(plan))
        case.underway = True
        case.changed()
        try:
            yield
        finally:
            case.underway = False
            case.changed()

    def _refuse_if_stopped(self, plan: Plan) -> None:
        if self._stopped is not None:
            raise NotApproved(
                f"{plan.step} is not applied: {self._stopped.ruling} at the gate of "
                f"{self._stopped.plan.step}; run that gate again to go on"
            )

    @staticmethod
    def _close(case: Case, why: str) -> None:
        case.closed = why
        case.changed()


KERNEL = Approvals()
"""The decisions of this kernel: they outlive the cell that opens the runbook."""
