"""The gate of an interactive notebook: a person decides, and the kernel never waits for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from runbook_lib.base import Journal, NotApproved, PlanChanged
from runbook_lib.lifecycle import (
    APPROVE_VARIABLE,
    Answer,
    Approval,
    ApprovalVoid,
    Case,
    Decision,
    Desk,
    Gate,
    Plan,
    Ruling,
    Step,
    StepApproved,
    StepSkipped,
    Stopped,
    Target,
    operator,
)
from runbook_lib.lifecycle import desk as desks

HOW = "Approve, pressed at the gate"
"""How an approval was given, in the evidence."""


@dataclass(frozen=True, eq=False)
class Question(Decision):
    """A plan put before a person, with what to know about it.

    Attributes:
        step: The step.
        case: The plan's case on the desk.
        warnings: What else to consider: a void approval, steps left out before.
        desk: Where decisions are taken down.
        journal: Where they are recorded, as events of the step.
        now: The time in UTC.
    """

    step: Step
    case: Case
    warnings: tuple[str, ...]
    desk: Desk
    journal: Journal
    now: Callable[[], datetime]

    @property
    def verdict(self) -> str:
        """The decision in a word or two."""
        return str(self.case.ruling.answer) if self.case.ruling else "not decided yet"

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What to know before deciding, besides the plan."""
        target = self.target
        production = " (production)" if target.production else ""
        return (
            ("Target", f"{target.name}{production}"),
            ("Server", target.server),
            ("Cluster UID", target.uid),
            ("What could go wrong", self.step.risk),
            ("Undo", self.step.undo),
        )

    @property
    def status(self) -> str:
        """Where the decision stands, and what to do next."""
        ruling, closed = self.case.ruling, self.case.closed
        if closed:
            decided = ruling.sentence if ruling else "Not decided"
            return f"{decided}; {closed}."
        if ruling is None:
            return "Not decided yet. Until it is, the next cell changes nothing and says so."
        following = {
            Answer.APPROVED: "Go on: run the cells below.",
            Answer.SKIPPED: "This step is left out. Go on: run the cells below.",
            Answer.STOPPED: "Nothing more is applied until this gate is run again.",
        }
        return f"{ruling.sentence}. {following[ruling.answer]}"

    @property
    def without_buttons(self) -> str:
        """What to do in a front end that does not show widgets."""
        return (
            "No buttons here? Open the notebook in JupyterLab or Notebook. Or run "
            f"%env {APPROVE_VARIABLE}={self.target.name} in a cell, which approves every plan of "
            "this kernel for that cluster, and then this cell again."
        )

    def __str__(self) -> str:
        """The question as text."""
        lines = [f"Gate: {self.step.title}", *(f"{name}: {text}" for name, text in self.facts)]
        lines += [f"! {warning}" for warning in self.warnings]
        lines += ["", str(self.plan), "", self.status]
        return "\n".join(lines if self.case.closed else [*lines, self.without_buttons])

    def name_missing(self, typed: str) -> bool:
        """Whether the cluster's name has yet to be typed: production asks for it."""
        return self.target.production and typed.strip() != self.target.name

    def approve(self, typed: str = "") -> None:
        """Approve exactly this plan.

        Args:
            typed: The cluster's name, for a production target.

        Raises:
            NotApproved: The name is not the cluster's.
        """
        if self.name_missing(typed):
            raise NotApproved(
                f"{self.target.name} is a production cluster", "type its name to approve"
            )
        self._decide(Answer.APPROVED)

    def skip(self) -> None:
        """Leave this step out."""
        self._decide(Answer.SKIPPED)

    def stop(self) -> None:
        """Let nothing more be applied in this kernel, until this gate is run again."""
        self._decide(Answer.STOPPED)

    def _decide(self, answer: Answer) -> None:
        """Record a decision, then take it down: none counts without evidence."""
        current = self.case.ruling
        if not self.case.open or (current is not None and current.answer is answer):
            return
        ruling = Ruling(answer, operator(), self.now())
        digest = self.plan.digest
        if answer is Answer.APPROVED:
            self.journal.record(StepApproved(digest, ruling.by, HOW, ruling.at))
        elif answer is Answer.SKIPPED:
            self.journal.record(StepSkipped(digest, ruling.by, ruling.at))
        else:
            self.journal.record(Stopped(digest, ruling.by, ruling.at))
        self.desk.rule(self.case, ruling)


class AskingGate(Gate):
    """Puts plans before a person. The operator's policy, where there is one, decides alone."""

    def __init__(
        self,
        target: Target,
        desk: Desk = desks.KERNEL,
        *,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(target, environ=environ, now=now)
        self._desk = desk

    def ask(
        self, plan: Plan, step: Step, journal: Journal, warnings: tuple[str, ...] = ()
    ) -> Decision:
        """Put a plan before a person, or say what was decided about it. Never waits."""
        if plan.empty or self._policy_is_given:
            self._desk.finish(plan, "nothing is left to decide here")
            return self.decide(plan)
        case, void = self._desk.put(plan)
        approval = None
        if void is not None:
            journal.record(ApprovalVoid(plan.digest, str(void)))
            warnings = (
                f"The plan has changed. What was decided about the earlier one ({void}) is void.",
                *warnings,
            )
        if case.ruling is not None and case.ruling.answer is Answer.APPROVED:
            approval = self._approval(plan, case.ruling)
        return Question(
            plan,
            self._target,
            approval,
            "A person decides.",
            step,
            case,
            warnings,
            self._desk,
            journal,
            self._now,
        )

    def require(self, plan: Plan) -> Approval:
        """Return the approval of exactly this plan.

        Raises:
            NotApproved: There is none, or everything was stopped.
            PlanChanged: There is one for another plan of the same step; it is void now.
        """
        stopped = self._desk.stopped
        if stopped is not None:
            where = stopped.plan.step
            raise NotApproved(
                f"{plan.step} is not applied: {stopped.ruling} at the gate of {where}; "
                "run that gate again to go on"
            )
        if self._policy_is_given:
            return super().require(plan)
        void = self._desk.void(plan)
        if void is not None:
            raise PlanChanged(
                f"{plan.step}: the plan is no longer the one that was {void}, so that approval is "
                f"void; it is now: {plan.summary}",
                "run the plan and the gate again, and read what has changed",
            )
        ruling = self._desk.ruling(plan)
        if not self._desk.asks(plan):
            raise NotApproved(f"{plan.step}: run its plan and gate cells first, in this order")
        if ruling is None or ruling.answer is not Answer.APPROVED:
            raise NotApproved(
                f"{plan.step} is not approved yet: decide at its gate above, then run on from here"
            )
        return self._approval(plan, ruling)

    def skipped(self, plan: Plan) -> bool:
        """Whether a person left out exactly this plan."""
        ruling = self._desk.ruling(plan)
        return ruling is not None and ruling.answer is Answer.SKIPPED

    def applied(self, plan: Plan) -> None:
        """Take note that a plan was carried out; a person's approval holds only once."""
        self._desk.finish(plan, "it was applied")

    @property
    def _policy_is_given(self) -> bool:
        return bool(self._environ.get(APPROVE_VARIABLE, "").strip())

    def _approval(self, plan: Plan, ruling: Ruling) -> Approval:
        return Approval(plan.digest, plan.target_uid, ruling.by, HOW, ruling.at)
