"""The gate of a run that carries out what was reviewed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from runbook_lib.base import Journal, NotApproved, PlanChanged
from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.approvals import Approvals, Ruling
from runbook_lib.lifecycle.gate import Gate, GateDecision
from runbook_lib.lifecycle.operators import Person
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.lifecycle.review.comparing import ReviewedPlan
from runbook_lib.lifecycle.review.files import Review
from runbook_lib.lifecycle.step import Subject
from runbook_lib.lifecycle.target import Target
from runbook_lib.parameters import ApprovalParameters

REVIEW_VARIABLE = "RUNBOOK_APPROVE_PLAN"
"""Names the folder of the run whose plans were reviewed, and are approved."""


class ReviewedGate(Gate):
    """Approves a plan that was reviewed, if only that was filled in which review could not know."""

    def __init__(
        self,
        target: Target,
        approvals: Approvals,
        review: Review,
        folder: Path,
        *,
        rules: ApprovalParameters,
        person: Callable[[], Person],
        now: Callable[[], datetime],
    ) -> None:
        """Approve what was reviewed.

        Args:
            target: The cluster.
            approvals: Where decisions are kept.
            review: The plans.
            folder: This run's, beside those of earlier ones.
            rules: What an approval takes besides.
            person: Who carries it out, which counts as an approval.
            now: The time in UTC.
        """
        super().__init__(target, approvals, rules=rules, person=person, now=now)
        self._review, self._folder = review, folder
        self._notebook = ""

    def ask(
        self, plan: Plan, subject: Subject, journal: Journal, warnings: tuple[str, ...] = ()
    ) -> GateDecision:
        """Return the decision about a plan, by the one that was reviewed for the same step."""
        self._notebook = journal.notebook
        return super().ask(plan, subject, journal, warnings)

    def require(self, plan: Plan) -> Ruling:
        """Return the approval of exactly this plan.

        Raises:
            PlanChanged: The plan differs from the one that was reviewed; the error says where.
            NotApproved: Everything was stopped.
        """
        approval = self._approvals.require(plan)
        allowed, reason = self._policy(plan)
        if not allowed:
            raise PlanChanged(
                f"{plan.step}: {reason}",
                "find out who changed it; then plan again, and have that reviewed",
            )
        self._require_permission()
        if approval is None:
            raise NotApproved(f"{plan.step}: run its plan and gate cells first, in this order")
        return approval

    def _require_permission(self) -> None:
        now = self._now()
        self._permission.require_window(now)
        self._permission.require_fresh(self._review.made, now)
        account = self._person().account
        self._permission.require_persons(self._review.approved_by | ({account} - {""}))

    def _policy(self, plan: Plan) -> tuple[bool, str]:
        """Return whether the plan is what was reviewed, and the reason."""
        run = self._review.run
        reviewed = self._review.plans.get((self._notebook, plan.step))
        if reviewed is None:
            return False, f"run {run} has planned no {plan.step} that could have been reviewed."
        if lines := reviewed.differences(plan, self._made):
            text = "\n".join(lines)
            return False, f"the plan is not the one that was reviewed with run {run}.\n{text}"
        return True, f"The plan holds that was reviewed with run {run} ({_short(reviewed)})."

    def _made(self) -> dict[str, str]:
        attempts = runs.attempts_on(self._folder.parent, self._target.uid)
        return {
            change.ref: change.makes
            for attempt in attempts
            if attempt.applied is not None and attempt.planned is not None
            for change in attempt.planned.changes
        }


def _short(reviewed: ReviewedPlan) -> str:
    return f"plan {reviewed.digest[:12]}"
