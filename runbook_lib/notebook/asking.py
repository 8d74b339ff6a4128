"""The gate of an interactive notebook: a person decides, and the kernel never waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from runbook_lib.base import Journal, NotApproved
from runbook_lib.lifecycle import (
    APPROVE_VARIABLE,
    Approvals,
    ApprovalVoid,
    Case,
    Gate,
    GateAnswer,
    GateDecision,
    Plan,
    Ruling,
    StepApproved,
    StepSkipped,
    Stopped,
    Subject,
    operator,
)

HOW = "a button, pressed at the gate"
"""How a person decides, in the evidence."""


@dataclass(frozen=True, eq=False)
class Question(GateDecision):
    """A plan put before a person, with what to know about it.

    Attributes:
        step: What is asked about: a step, or several that are approved as one.
        case: The plan's case.
        warnings: What else to consider: a void approval, steps left out before.
        approvals: Where decisions are kept.
        journal: Where they are recorded, as events of the step.
        now: The time in UTC.
    """

    step: Subject
    case: Case
    warnings: tuple[str, ...]
    approvals: Approvals
    journal: Journal
    now: Callable[[], datetime]

    @property
    def verdict(self) -> str:
        """The decision in a word or two."""
        return str(self.case.ruling.answer) if self.case.ruling else "not decided yet"

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What to know before deciding, besides the plan, and what was decided."""
        target = self.target
        production = " (production)" if target.production else ""
        return (
            ("Target", f"{target.name}{production}"),
            ("Server", target.server),
            ("Cluster UID", target.uid),
            ("What could go wrong", self.step.risk),
            ("Undo", self.step.undo),
            ("Decision", str(self.case.ruling) if self.case.ruling else "none yet"),
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
            GateAnswer.APPROVED: "Go on: run the cells below.",
            GateAnswer.SKIPPED: "This step is left out. Go on: run the cells below.",
            GateAnswer.STOPPED: "Nothing more is applied until this gate is run again.",
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
        self._decide(GateAnswer.APPROVED)

    def skip(self) -> None:
        """Leave this step out."""
        self._decide(GateAnswer.SKIPPED)

    def stop(self) -> None:
        """Let nothing more be applied in this kernel, until this gate is run again."""
        self._decide(GateAnswer.STOPPED)

    def _decide(self, answer: GateAnswer) -> None:
        """Record a decision, then take it down: none counts without evidence."""
        current = self.case.ruling
        if not self.case.open or (current is not None and current.answer is answer):
            return
        ruling = Ruling(answer, operator(), HOW, self.now())
        digest = self.plan.digest
        if answer is GateAnswer.APPROVED:
            self.journal.record(StepApproved(digest, ruling.by, ruling.how, ruling.at))
        elif answer is GateAnswer.SKIPPED:
            self.journal.record(StepSkipped(digest, ruling.by, ruling.at))
        else:
            self.journal.record(Stopped(digest, ruling.by, ruling.at))
        self.approvals.rule(self.case, ruling)


class AskingGate(Gate):
    """Puts plans before a person. The operator's policy, where there is one, decides alone."""

    def ask(
        self, plan: Plan, subject: Subject, journal: Journal, warnings: tuple[str, ...] = ()
    ) -> GateDecision:
        """Put a plan before a person, or say what was decided about it. Never waits."""
        if plan.empty or self._policy_is_given:
            return self.decide(plan)
        case, void = self._approvals.put(plan)
        if void is not None:
            journal.record(ApprovalVoid(plan.digest, str(void)))
            warnings = (
                f"The plan has changed. What was decided about the earlier one ({void}) is void.",
                *warnings,
            )
        approved = case.ruling is not None and case.ruling.answer is GateAnswer.APPROVED
        return Question(
            plan,
            self._target,
            case.ruling if approved else None,
            "A person decides.",
            subject,
            case,
            warnings,
            self._approvals,
            journal,
            self._now,
        )

    def require(self, plan: Plan) -> Ruling:
        """Return the approval of exactly this plan.

        Raises:
            NotApproved: There is none, or everything was stopped.
            PlanChanged: There is one for another plan of the same step; it is void now.
        """
        if self._policy_is_given:
            return super().require(plan)
        approval = self._approvals.require(plan)
        if approval is not None:
            return approval
        if not self._approvals.asks(plan):
            raise NotApproved(f"{plan.step}: run its plan and gate cells first, in this order")
        raise NotApproved(
            f"{plan.step} is not approved yet: decide at its gate above, then run on from here"
        )

    def applied(self, plan: Plan) -> None:
        """Take note that a plan was carried out; a person's approval holds only once."""
        if not self._policy_is_given:
            self._approvals.close(plan, "it was applied")

    @property
    def _policy_is_given(self) -> bool:
        return bool(self._environ.get(APPROVE_VARIABLE, "").strip())
