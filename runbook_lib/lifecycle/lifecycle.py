"""The life cycle of a step: plan, gate, apply, verify, each recorded as evidence."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from runbook_lib.base import Evidence, NotApproved, PlanChanged, RunbookError, VerificationFailed
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.gate import Decision, Gate
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.lifecycle.step import Step, Verification
from runbook_lib.lifecycle.table import Table
from runbook_lib.lifecycle.target import Target


class State(StrEnum):
    """How far a step has come in this kernel."""

    NEW = "new"
    PLANNED = "planned"
    APPLIED = "applied"
    VERIFIED = "verified"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Proposal:
    """A plan as it is shown for approval.

    Attributes:
        step: Whose plan it is.
        target: The cluster.
        plan: The plan.
        warnings: What else to consider, such as steps left out before.
    """

    step: Step
    target: Target
    plan: Plan
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What, where and why, and then the plan."""
        step, target = self.step, self.target
        head = [
            f"{step.title} on {target.name} ({target.server})",
            f"Why:  {step.why}",
            f"Risk: {step.risk}",
            f"Undo: {step.undo}",
            *(f"Note: {warning}" for warning in self.warnings),
        ]
        return "\n".join([*head, "", str(self.plan)])


@dataclass(frozen=True)
class Applied:
    """What an apply did.

    Attributes:
        step: The step's name.
        changed: What was changed; empty if there was nothing to do.
        text: The same in a line.
    """

    step: str
    changed: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        """The line."""
        return self.text


class LifeCycle:
    """One step in a notebook: the object behind its cells.

    A step refuses to go on after an earlier one of the notebook failed: some tools that execute
    notebooks continue with the next cell after an error.
    """

    def __init__(
        self, step: Step, context: Context, gate: Gate, earlier: Sequence[LifeCycle] = ()
    ) -> None:
        self.step = step
        self.state = State.NEW
        self._context = replace(context, evidence=context.evidence.bind(step=step.name))
        self._gate = gate
        self._earlier = tuple(earlier)
        self._plan: Plan | None = None
        self._changed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<step {self.step.name}: {self.state}>"

    @property
    def plan_only(self) -> bool:
        """Whether this run may only look."""
        return self._context.parameters.mode == "plan"

    def plan(self) -> Proposal:
        """Find out what would change, and show it. Nothing is changed."""
        self._refuse_after_failure()
        with self._phase("plan") as evidence:
            plan = self.step.plan(self._context)
            self._plan, self._changed, self.state = plan, (), State.PLANNED
            evidence.record(
                "step-planned",
                digest=plan.digest,
                summary=plan.summary,
                changes=[
                    {"ref": change.ref, "action": change.action, "text": change.text}
                    for change in plan.changes
                ],
                unpredictable=plan.unpredictable,
                plan_only=self.plan_only,
            )
        return Proposal(self.step, self._context.target, plan, self._left_out())

    def gate(self) -> Decision:
        """Say whether the plan that was shown is approved, by whom and how. Never blocks."""
        self._refuse_after_failure()
        plan = self._shown_plan("gate")
        if self.plan_only:
            reason = "In plan mode nothing is applied."
            return Decision(plan, self._context.target, None, reason, needed=False)
        decision = self._gate.ask(plan, self.step, self._context.evidence, self._left_out())
        if decision.approval is not None:
            approval = decision.approval
            self._context.evidence.record(
                "step-approved",
                digest=approval.plan_digest,
                by=approval.by,
                how=approval.how,
                approved_at=approval.at.isoformat(),
            )
        return decision

    def apply(self) -> Applied:
        """Make the approved changes.

        Raises:
            NotApproved: The plan that was shown is not approved.
            PlanChanged: The plan is no longer the one that was shown.
        """
        self._refuse_after_failure()
        shown = self._shown_plan("apply")
        if self.plan_only:
            return Applied(self.step.name, (), "Plan mode: nothing was applied.")
        self._refuse_before_earlier()
        if self._gate.skipped(shown):
            self.state = State.SKIPPED
            return Applied(self.step.name, (), "Skipped: nothing was applied.")
        with self._phase("apply") as evidence:
            if not shown.empty:
                self._gate.require(shown)
            self._context.target.verify_same(self._context.cluster)
            plan = self._unchanged(shown)
            started = time.monotonic()
            if not plan.empty:
                self.step.apply(self._context, plan)
                self._gate.applied(plan)
            self._changed = tuple(f"{change.action} {change.ref}" for change in plan.changes)
            self.state = State.APPLIED
            seconds = round(time.monotonic() - started, 3)
            evidence.record(
                "step-applied", digest=plan.digest, changed=self._changed, seconds=seconds
            )
        if plan.empty:
            return Applied(self.step.name, (), "Nothing to apply.")
        return Applied(self.step.name, self._changed, f"Applied: {plan.summary}.")

    def verify(self) -> Verification:
        """Prove the step's effect.

        Raises:
            VerificationFailed: It could not be proved; the error shows what was seen.
        """
        self._refuse_after_failure()
        if self.plan_only:
            return Verification(self.step.name, ok=True, note="Not verified in plan mode.")
        if self.state is State.SKIPPED:
            return Verification(
                self.step.name, ok=True, note="Not verified: this step was skipped."
            )
        if self.state not in (State.APPLIED, State.VERIFIED):
            raise RunbookError(
                f"{self.step.name} is {self.state}, so there is nothing to verify",
                "run its plan, gate and apply cells first",
            )
        with self._phase("verify") as evidence:
            started = time.monotonic()
            result = self.step.verify(self._context)
            if not result.ok:
                raise VerificationFailed(f"{self.step.name} is not verified:\n{result}")
            self.state = State.VERIFIED
            evidence.record(
                "step-verified",
                changed=self._changed,
                seconds=round(time.monotonic() - started, 3),
                tables=[_table(table) for table in result.tables],
                note=result.note,
            )
        return result

    def _unchanged(self, shown: Plan) -> Plan:
        """Plan again; an approval holds for nothing but what was shown."""
        plan = self.step.plan(self._context)
        if plan.digest == shown.digest:
            return plan
        if not shown.empty:
            self._gate.require(plan)
        raise PlanChanged(
            f"{self.step.name}: there was nothing to change, and now there is: {plan.summary}",
            "run the plan and the gate again, and read what has changed",
        )

    def _shown_plan(self, phase: str) -> Plan:
        if self._plan is None:
            raise RunbookError(
                f"{self.step.name}: {phase} needs a plan, and none has been shown",
                "run the plan cell first",
            )
        return self._plan

    def _refuse_after_failure(self) -> None:
        for other in self._earlier:
            if other.state is State.FAILED:
                raise RunbookError(
                    f"{self.step.name} is not run: the earlier step {other.step.name} failed",
                    f"mend its cause and run the cells of {other.step.name} again",
                )

    def _refuse_before_earlier(self) -> None:
        for other in self._earlier:
            if other.state not in (State.VERIFIED, State.SKIPPED):
                raise RunbookError(
                    f"{self.step.name} builds on {other.step.name}, which is {other.state} and "
                    "not verified",
                    f"run the cells of {other.step.name} first",
                )

    def _left_out(self) -> tuple[str, ...]:
        """Say which earlier steps were skipped: this one builds on them."""
        return tuple(
            f"{other.step.name}, on which this step builds, was skipped."
            for other in self._earlier
            if other.state is State.SKIPPED
        )

    @contextmanager
    def _phase(self, phase: str) -> Iterator[Evidence]:
        evidence = self._context.evidence.bind(phase=phase)
        try:
            yield evidence
        except BaseException as error:
            if not isinstance(error, NotApproved | PlanChanged):
                self.state = State.FAILED
            evidence.record(
                "step-failed",
                error=type(error).__name__,
                cause=getattr(error, "cause", "") or str(error),
                remedy=getattr(error, "remedy", ""),
            )
            raise


def _table(table: Table) -> dict[str, object]:
    rows = [{"cells": row.cells, "ok": row.ok} for row in table.rows]
    return {"title": table.title, "columns": table.columns, "rows": rows}
