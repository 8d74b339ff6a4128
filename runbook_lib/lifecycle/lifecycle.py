"""The life cycle of a step: plan, gate, apply, verify, each recorded as evidence."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from runbook_lib.base import Event, NotApproved, PlanChanged, RunbookError, VerificationFailed
from runbook_lib.base.effort import METER
from runbook_lib.lifecycle import reverting
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.events import (
    Phase,
    PlannedChange,
    StepApplied,
    StepApplying,
    StepApproved,
    StepFailed,
    StepPlanned,
    StepVerified,
)
from runbook_lib.lifecycle.gate import Gate, GateDecision
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.lifecycle.record import StepRecord
from runbook_lib.lifecycle.step import Revertible, Step, Subject, Verification
from runbook_lib.lifecycle.target import Target


@dataclass(frozen=True)
class Proposal:
    """A plan as it is shown for approval.

    Attributes:
        step: Whose plan it is: a step's, or that of several approved as one.
        target: The cluster.
        plan: The plan.
        warnings: What else to consider, such as steps left out before.
    """

    step: Subject
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
        self.outcome = StepOutcome.NOT_RUN
        self._context = replace(context, journal=context.journal.of_step(step.name))
        self._gate = gate
        self._earlier = tuple(earlier)
        self._plan: Plan | None = None

    def __repr__(self) -> str:
        return f"<step {self.step.name}: {self.outcome}>"

    @property
    def plan_only(self) -> bool:
        """Whether this run may only look."""
        return self._context.parameters.mode == "plan"

    @property
    def left_out(self) -> tuple[str, ...]:
        """Which earlier steps were skipped: this one builds on them."""
        return tuple(
            f"{other.step.name}, on which this step builds, was skipped."
            for other in self._earlier
            if other.outcome is StepOutcome.SKIPPED
        )

    def look(self) -> Plan:
        """Plan as in plan mode: nothing is refused, and nothing recorded."""
        looking = self._context.parameters.model_copy(update={"mode": "plan"})
        return self._planned(replace(self._context, parameters=looking))

    def plan(self) -> Proposal:
        """Find out what would change, and show it. Nothing is changed."""
        self._refuse_stale_or_failed()
        self.outcome = StepOutcome.NOT_RUN
        with self._phase("plan"):
            plan = self._planned(self._context)
            self._plan, self.outcome = plan, StepOutcome.PLANNED
            self._record(
                StepPlanned(
                    plan.digest,
                    plan.summary,
                    tuple(PlannedChange(c.ref, c.action, c.text, c.makes) for c in plan.changes),
                    plan.unpredictable,
                    self.plan_only,
                    plan.interruptions,
                    plan.fallback,
                )
            )
        self._context.keep(plan)
        return Proposal(self.step, self._context.target, plan, self.left_out)

    def gate(self) -> GateDecision:
        """Say whether the plan that was shown is approved, by whom and how. Never blocks."""
        self._refuse_stale_or_failed()
        plan = self._shown_plan("gate")
        if self.plan_only:
            reason = "In plan mode nothing is applied."
            return GateDecision(plan, self._context.target, None, reason, needed=False)
        with METER.phase("gate", self.step.name):
            decision = self._gate.ask(plan, self.step, self._context.journal, self.left_out)
        if decision.approval is not None:
            approval = decision.approval
            self._record(StepApproved(plan.digest, approval.by, approval.how, approval.at))
        return decision

    def apply(self) -> Applied:
        """Make the approved changes.

        Raises:
            NotApproved: The plan that was shown is not approved.
            PlanChanged: The plan is no longer the one that was shown.
        """
        self._refuse_stale_or_failed()
        shown = self._shown_plan("apply")
        if self.plan_only:
            return Applied(self.step.name, (), "Plan mode: nothing was applied.")
        self._refuse_before_earlier()
        if self._gate.skipped(shown):
            self.outcome = StepOutcome.SKIPPED
            return Applied(self.step.name, (), "Skipped: nothing was applied.")
        with self._phase("apply"):
            if not shown.empty:
                self._gate.require(shown)
            self._context.target.verify_same(self._context.cluster)
            with nullcontext() if shown.empty else self._context.alone():
                plan = self._unchanged(shown)
                started = time.monotonic()
                if not plan.empty:
                    self._change(plan)
            changed = tuple(f"{change.action} {change.ref}" for change in plan.lasting)
            self._record(StepApplied(plan.digest, changed, _since(started)))
            self.outcome = StepOutcome.APPLIED
        if plan.empty:
            return Applied(self.step.name, (), "Nothing to apply.")
        return Applied(self.step.name, changed, f"Applied: {plan.summary}.")

    def _change(self, plan: Plan) -> None:
        """Carry out a plan that was approved."""
        before = None
        if isinstance(self.step, Revertible):
            before = self.step.before(self._context, plan)
        with self._gate.carrying_out(plan):
            self._record(StepApplying(plan.digest, before))
            self.outcome = StepOutcome.INTERRUPTED  # until it is known how it ends
            self.step.apply(self._context, plan)
        self._gate.applied(plan)

    def verify(self) -> Verification:
        """Prove the step's effect.

        Raises:
            VerificationFailed: It could not be proved; the error shows what was seen.
        """
        self._refuse_stale_or_failed()
        if self.plan_only:
            return Verification(self.step.name, note="Not verified in plan mode.")
        if self.outcome is StepOutcome.SKIPPED:
            return Verification(self.step.name, note="Not verified: this step was skipped.")
        if self.outcome not in (StepOutcome.APPLIED, StepOutcome.VERIFIED):
            raise RunbookError(
                f"{self.step.name} is {self.outcome}, so there is nothing to verify",
                "run its plan, gate and apply cells first",
            )
        with self._phase("verify"):
            started = time.monotonic()
            result = self.step.verify(self._context)
            if not result.ok:
                raise VerificationFailed(f"{self.step.name} is not verified:\n{result}")
            self._record(StepVerified(_since(started), result.tables, result.note))
            self.outcome = StepOutcome.VERIFIED
        return result

    def _planned(self, context: Context) -> Plan:
        """Plan, and add what happens if it is not verified: an approval covers that as well."""
        plan, parameters = self.step.plan(context.at_one_moment()), context.parameters
        with_it: dict[str, None] = {}
        if isinstance(self.step, Revertible) and plan.lasting and parameters.mode == "apply":
            with_it = dict.fromkeys(each.step for each in self._unfinished())
            with_it.pop(self.step.name, None)
        text = reverting.fallback(
            self.step, plan, reverts=parameters.reverts, with_it=tuple(with_it)
        )
        return replace(plan, fallback=text)

    def _unfinished(self) -> tuple[StepRecord, ...]:
        """Return what this notebook has changed and not brought to an end, the latest first."""
        journal = self._context.journal
        steps = [cycle.step for cycle in (*self._earlier, self)]
        uid = self._context.target.uid
        return reverting.left_by(journal.path.parent, uid, journal.notebook, steps)

    def _unchanged(self, shown: Plan) -> Plan:
        """Plan again; an approval holds for nothing but what was shown."""
        plan = self._planned(self._context)
        if plan.digest == shown.digest:
            return plan
        if not shown.empty:
            self._gate.require(plan)
        if shown.empty:
            change = f"there was nothing to change, and now there is: {plan.summary}"
        else:
            change = f"the plan was to {shown.summary}, and now is: {plan.summary}"
        raise PlanChanged(
            f"{self.step.name}: {change}",
            "run the plan and the gate again, and read what has changed",
        )

    def _shown_plan(self, phase: str) -> Plan:
        if self._plan is None:
            raise RunbookError(
                f"{self.step.name}: {phase} needs a plan, and none has been shown",
                "run the plan cell first",
            )
        return self._plan

    def _refuse_stale_or_failed(self) -> None:
        self._context.refuse_if_changed()
        for other in self._earlier:
            if other.outcome.stopped:
                verb = "" if other.outcome is StepOutcome.FAILED else "was "
                raise RunbookError(
                    f"{self.step.name} is not run: the earlier step {other.step.name} "
                    f"{verb}{other.outcome}",
                    f"mend its cause and run the cells of {other.step.name} again",
                )

    def _refuse_before_earlier(self) -> None:
        for other in self._earlier:
            if other.outcome not in (StepOutcome.VERIFIED, StepOutcome.SKIPPED):
                raise RunbookError(
                    f"{self.step.name} builds on {other.step.name}, which is {other.outcome} and "
                    "not verified",
                    f"run the cells of {other.step.name} first",
                )

    def _record(self, event: Event) -> None:
        self._context.journal.record(event)

    @contextmanager
    def _phase(self, phase: Phase) -> Iterator[None]:
        reached = self.outcome
        try:
            with METER.phase(phase, self.step.name):
                yield
        except BaseException as error:
            outcome = _came_of(error, self.outcome)
            # Without a decision, or with a new one, the step goes on from where it was.
            self.outcome = reached if outcome is StepOutcome.NOT_APPROVED else outcome
            cause, remedy = getattr(error, "cause", "") or str(error), getattr(error, "remedy", "")
            try:
                self._record(StepFailed(outcome, phase, type(error).__name__, cause, remedy))
            except RunbookError as unwritten:  # the disk is full, for example
                if unwritten.cause != cause:
                    error.add_note(f"Nothing more is done: {unwritten}")
                raise error from None
            if self._context.parameters.mode == "apply":
                self._go_back(error, outcome)
            raise

    def _go_back(self, error: BaseException, outcome: StepOutcome) -> None:
        """Take back what the failure leaves unfinished, or say how; the error tells of it."""
        attempts = self._unfinished()
        if not attempts:
            if isinstance(self.step, Revertible) and self.outcome is StepOutcome.FAILED:
                said = "Nothing is taken back: this step changed nothing in this run. By hand: "
                error.add_note(f"{said}{self.step.undo}.")
            return
        if outcome is StepOutcome.NOT_APPROVED:  # a person decides, and may go on
            error.add_note(reverting.waiting(attempts))
            return
        cycles = (*self._earlier, self)
        if self._context.parameters.reverts:
            steps = [cycle.step for cycle in cycles]
            came = reverting.take_back(attempts, steps, self._context)
        else:
            came = reverting.leave(attempts, "on_failure is stop", self._context.journal)
        error.add_note(came.text)
        for cycle in cycles:
            if cycle.step.name in came.taken_back:
                cycle.outcome = StepOutcome.TAKEN_BACK


def _came_of(error: BaseException, reached: StepOutcome) -> StepOutcome:
    """Say what an error makes of a step that had come this far."""
    if isinstance(error, NotApproved | PlanChanged):
        return StepOutcome.NOT_APPROVED
    if isinstance(error, KeyboardInterrupt) and reached.unproved:
        return reached
    untouched = reached in (StepOutcome.NOT_RUN, StepOutcome.PLANNED)
    if isinstance(error, RunbookError) and untouched:
        return StepOutcome.REFUSED
    return StepOutcome.FAILED


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
