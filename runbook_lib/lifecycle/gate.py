"""Who may change the cluster: an approval holds for exactly one plan on one cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from runbook_lib.base import Journal, NotApproved
from runbook_lib.lifecycle.approvals import Approvals, GateAnswer, Ruling
from runbook_lib.lifecycle.operators import Person, operator
from runbook_lib.lifecycle.permission import Permission
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.lifecycle.step import Subject
from runbook_lib.lifecycle.target import Target
from runbook_lib.parameters import ApprovalParameters

APPROVE_VARIABLE = "RUNBOOK_APPROVE"
"""Names the cluster whose changes the operator approves, or `none`.

It comes from the environment or the command line, never from a parameters file: a file that names
a cluster must not also be the permission to change it.
"""


@dataclass(frozen=True)
class GateDecision:
    """What the gate says about a plan.

    Attributes:
        plan: The plan asked about.
        target: The cluster it would change.
        approval: The permission; None if there is none, or none is needed.
        reason: Why it is, is not, or need not be approved.
        needed: Whether anything is going to be applied that needs an approval.
    """

    plan: Plan
    target: Target
    approval: Ruling | None
    reason: str
    needed: bool = field(default=True, kw_only=True)

    @property
    def verdict(self) -> str:
        """The decision in two words at most."""
        if not self.needed:
            return "not needed"
        return "approved" if self.approval else "not approved"

    def __str__(self) -> str:
        """The decision as a line."""
        return f"Approval for {self.target.name}: {self.verdict}. {self.reason}"


class Gate:
    """Asks the operator's policy about plans. It never waits, so nothing can hang."""

    def __init__(
        self,
        target: Target,
        approvals: Approvals,
        *,
        rules: ApprovalParameters = ApprovalParameters(),  # noqa: B008 # it is frozen
        person: Callable[[], Person] = lambda: Person("", operator()),
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Let nothing be applied that is not approved.

        Args:
            target: The cluster.
            approvals: Where decisions are kept.
            rules: What an approval takes besides a yes.
            person: Who decides here.
            environ: Where the policy is.
            now: The time in UTC.
        """
        self._permission = Permission(rules, target.production)
        self._person = person
        self._target = target
        self._approvals = approvals
        self._environ = environ
        self._now = now

    def decide(self, plan: Plan) -> GateDecision:
        """Approve a plan if the operator's policy covers it; forget any earlier approval."""
        self._approvals.lift(plan)
        self._approvals.close(plan, "nothing is left to decide here")
        if plan.empty:
            reason = "There is nothing to change."
            return GateDecision(plan, self._target, None, reason, needed=False)
        allowed, reason = self._policy(plan)
        if not allowed:
            return GateDecision(plan, self._target, None, reason)
        try:
            self._require_permission()
        except NotApproved as error:
            return GateDecision(plan, self._target, None, error.cause)
        case, _ = self._approvals.put(plan)
        ruling = Ruling(GateAnswer.APPROVED, str(self._person()), reason, self._now())
        self._approvals.rule(case, ruling)
        return GateDecision(plan, self._target, ruling, reason)

    def ask(
        self,
        plan: Plan,
        subject: Subject,  # noqa: ARG002 # for a gate that shows it to a person
        journal: Journal,  # noqa: ARG002 # for a gate at which decisions come later
        warnings: tuple[str, ...] = (),  # noqa: ARG002 # for a gate that shows them
    ) -> GateDecision:
        """Return the decision about a plan; a gate with a person at it shows what is asked."""
        return self.decide(plan)

    def skipped(self, plan: Plan) -> bool:
        """Whether it was decided to leave out exactly this plan."""
        ruling = self._approvals.ruling(plan)
        return ruling is not None and ruling.answer is GateAnswer.SKIPPED

    def carrying_out(self, plan: Plan) -> AbstractContextManager[None]:
        """Within the block a plan is applied, and only a stop can be decided.

        Raises:
            NotApproved: Everything was stopped just now.
        """
        return self._approvals.carrying_out(plan)

    def applied(self, plan: Plan) -> None:
        """Take note that a plan was carried out; a policy goes on to hold."""

    def require(self, plan: Plan) -> Ruling:
        """Return the approval of exactly this plan.

        Raises:
            NotApproved: There is none, or everything was stopped.
            PlanChanged: There is one for another plan of the same step; it is void now.
        """
        approval = self._approvals.require(plan)
        self._require_permission()
        allowed, reason = self._policy(plan)
        if approval is None or not allowed:
            raise NotApproved(
                f"{plan.step}: the plan for {self._target.name} is not approved "
                f"({reason.rstrip('.')})",
                self._how_to_approve(),
            )
        return approval

    def _require_permission(self) -> None:
        """Check what an approval takes besides a yes.

        Raises:
            NotApproved: Something of it is not given.
        """
        self._permission.require_window(self._now())
        self._permission.require_one()

    def _policy(
        self,
        plan: Plan,  # noqa: ARG002 # for a gate at which it matters what was reviewed
    ) -> tuple[bool, str]:
        """Return whether the operator approves changes to this target, and the reason."""
        desired = self._environ.get(APPROVE_VARIABLE, "").strip()
        name = self._target.name
        if desired == "none":
            return False, f"{APPROVE_VARIABLE}=none approves nothing."
        if desired == name:
            how = f"{APPROVE_VARIABLE} names {name}: whatever the plan of each step is by then."
            return True, how
        if desired:
            return False, f"{APPROVE_VARIABLE} names {desired!r}, and this is {name!r}."
        if self._target.allows.approves_by_itself:
            return True, "A lab needs no approval: no one depends on it."
        return False, f"{APPROVE_VARIABLE} is not set, and {name} is not a lab."

    def _how_to_approve(self) -> str:
        name = self._target.name
        return (
            f"to approve, run with --approve {name}, or set {APPROVE_VARIABLE}={name} "
            "before Jupyter starts, and run the gate again"
        )
