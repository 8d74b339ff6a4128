"""A stage: several steps under one plan and one approval, each applied and proved in its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from runbook_lib.base import Journal, NotApproved, PlanChanged, RunbookError
from runbook_lib.lifecycle.approvals import Approvals, Ruling
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.gate import Gate, GateDecision
from runbook_lib.lifecycle.lifecycle import Applied, LifeCycle, Proposal
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.lifecycle.step import Step, Subject, Verification
from runbook_lib.lifecycle.table import Row, Table
from runbook_lib.lifecycle.target import Target


@dataclass(frozen=True)
class Asked:
    """A plan that was made at its gate, and what the gate says about it.

    Attributes:
        proposal: The plan, with what to know about it.
        decision: Whether it is approved.
    """

    proposal: Proposal
    decision: GateDecision

    def __str__(self) -> str:
        """The plan, and the decision below it."""
        return f"{self.proposal}\n\n{self.decision}"


class Stage:
    """Steps that are planned and approved as one, and then taken one after the other.

    Every step is recorded under its own name, and proved before the next one changes anything. What
    a step's plan holds once those before it are applied has to be covered by the stage's approval.
    """

    def __init__(
        self,
        name: str,
        title: str,
        steps: Sequence[Step],
        context: Context,
        gate: Gate,
        earlier: Sequence[LifeCycle] = (),
    ) -> None:
        """Join the steps.

        Args:
            name: Identifies the stage's plan at the gate.
            title: What the stage does, for people.
            steps: Its steps, in order.
            context: Where they are taken.
            gate: Where the stage's plan is approved.
            earlier: The steps before, which must not have failed.
        """
        self.subject: Subject = _joined(name, title, steps)
        self._context, self.outer = context, gate
        self._plan: Plan | None = None
        self._shown: dict[str, Plan] = {}
        self._touched: set[str] = set()
        self.cycles: list[LifeCycle] = []
        inner = _WithinStage(self)
        for step in steps:
            before = [*earlier, *self.cycles]
            self.cycles.append(LifeCycle(step, context, inner, before))

    @property
    def target(self) -> Target:
        """The cluster."""
        return self._context.target

    def __repr__(self) -> str:
        return f"<stage {self.subject.name}: {', '.join(map(repr, self.cycles))}>"

    def outlook(self) -> list[tuple[str, Plan | RunbookError]]:
        """Return by its name what each step would do as things are, or why it cannot be told."""
        return [(cycle.step.name, _look(cycle)) for cycle in self.cycles]

    def gate(self) -> Asked:
        """Plan the steps as one, show it, and say whether it is approved. Never blocks."""
        plans: list[Plan] = []
        for cycle in self.cycles:
            # What depends on a step before, which is not applied yet, is only looked at: it is
            # planned in its turn.
            waits = any(not plan.empty for plan in plans) and not cycle.plan_only
            plans.append(cycle.look() if waits else cycle.plan().plan)
        self._shown = {plan.step: plan for plan in plans}
        self._touched = set()
        self._plan = plan = _one(self.subject.name, self.target.uid, plans)
        target = self.target
        warnings = self.cycles[0].left_out
        proposal = Proposal(self.subject, target, plan, warnings)
        if self.cycles[0].plan_only:
            self._context.keep(plan)
            reason = "In plan mode nothing is applied."
            return Asked(proposal, GateDecision(plan, target, None, reason, needed=False))
        first = next((p.step for p in plans if not p.empty), self.cycles[0].step.name)
        journal = self._context.journal.of_step(first)
        return Asked(proposal, self.outer.ask(plan, self.subject, journal, warnings))

    def apply(self) -> Applied:
        """Take the steps in order; each is proved before the next one changes anything.

        Raises:
            NotApproved: The plan that was shown is not approved.
            PlanChanged: A step would now change what the approval does not cover.
            RunbookError: A step failed; its name is in the evidence and in the notes of the error.
        """
        plan = self.require_plan()
        done: list[Applied] = []
        before: LifeCycle | None = None
        for cycle in self.cycles:
            if before is not None and not cycle.plan_only:
                with self._naming(before):
                    before.verify()
            with self._naming(cycle):
                if self._touched:
                    cycle.plan()
                cycle.gate()
                done.append(cycle.apply())
            if done[-1].changed:
                self._touched |= {change.ref for change in self._shown[cycle.step.name].changes}
            before = cycle
        if not plan.empty:
            self.outer.applied(plan)
        changed = tuple(item for each in done for item in each.changed)
        text = f"Applied: {', '.join(changed)}." if changed else done[-1].text
        return Applied(self.subject.name, changed, text)

    def verify(self) -> Verification:
        """Prove the effect of every step.

        Raises:
            VerificationFailed: It could not be proved; the error names the step.
        """
        results = [cycle.verify() for cycle in self.cycles]
        notes = dict.fromkeys(result.note for result in results if result.note)
        tables = _merged(table for result in results for table in result.tables)
        return Verification(self.subject.name, tables, " ".join(notes))

    def require_plan(self) -> Plan:
        """Return the plan that was shown.

        Raises:
            RunbookError: None was.
        """
        if self._plan is None:
            raise RunbookError(
                f"{self.subject.name}: there is no plan yet, and none has been shown",
                "run the gate cell first",
            )
        return self._plan

    def approval_of(self, plan: Plan) -> Ruling:
        """Return the approval of the stage for what one of its steps is about to change.

        Raises:
            NotApproved: The stage is not approved.
            PlanChanged: The step would change what was not in the stage's plan.
        """
        approval = self.outer.require(self.require_plan())
        shown = self._shown[plan.step]
        known = {(change.ref, change.action): change.digest for change in shown.changes}
        new = [
            f"{change.action} {change.ref}"
            for change in plan.changes
            if not self._covers(known.get((change.ref, change.action)), change)
        ]
        new += [item for item in plan.unpredictable if item not in shown.unpredictable]
        announced = [each.key for each in shown.interruptions]
        new += [str(each) for each in plan.interruptions if each.key not in announced]
        if new:
            raise PlanChanged(
                f"{plan.step}: its plan holds what was not approved with {self.subject.name}: "
                f"{', '.join(new)}",
                "run the gate of this stage again, and read what has changed",
            )
        return approval

    def _covers(self, known: str | None, change: Change) -> bool:
        """Whether a change was in the plan; what a step before has changed reads otherwise now."""
        return known == change.digest or (known is not None and change.ref in self._touched)

    @contextmanager
    def _naming(self, cycle: LifeCycle) -> Iterator[None]:
        """Say which step an error is about, where there are several."""
        try:
            yield
        except RunbookError as error:
            if len(self.cycles) > 1 and cycle.step.name not in error.cause:
                error.put_before(cycle.step.name)
            raise


class _WithinStage(Gate):
    """The gate of one step of a stage: open to what the approval of the stage covers."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.target, Approvals())
        self._stage = stage

    def ask(
        self,
        plan: Plan,
        subject: Subject,  # noqa: ARG002 # it was shown with its stage
        journal: Journal,  # noqa: ARG002 # it was asked about with its stage
        warnings: tuple[str, ...] = (),  # noqa: ARG002 # as above
    ) -> GateDecision:
        target = self._stage.target
        if plan.empty:
            return GateDecision(plan, target, None, "There is nothing to change.", needed=False)
        try:
            approval = self.require(plan)
        except (NotApproved, PlanChanged) as error:
            return GateDecision(plan, target, None, error.cause)
        return GateDecision(plan, target, approval, approval.how)

    def skipped(self, plan: Plan) -> bool:  # noqa: ARG002 # a stage is skipped as a whole
        return self._stage.outer.skipped(self._stage.require_plan())

    def carrying_out(self, plan: Plan) -> AbstractContextManager[None]:  # noqa: ARG002 # as above
        return self._stage.outer.carrying_out(self._stage.require_plan())

    def require(self, plan: Plan) -> Ruling:
        return self._stage.approval_of(plan)


def _look(cycle: LifeCycle) -> Plan | RunbookError:
    try:
        return cycle.look()
    except RunbookError as error:
        return error


@dataclass
class _Joined:
    """What to know about several steps at once; attributes as in `Subject`."""

    name: str
    title: str
    why: str
    takes: str
    risk: str
    undo: str


def _joined(name: str, title: str, steps: Sequence[Step]) -> Subject:
    """Return what to know about steps that are decided about as one."""

    def each(words: Callable[[Step], str]) -> str:
        if len(steps) == 1:
            return words(steps[0])
        return "; ".join(f"{step.name}: {words(step)}" for step in steps)

    # They are undone together, mostly by the same notebook.
    undo = "; ".join(dict.fromkeys(step.undo for step in steps))
    return _Joined(
        name,
        title,
        each(lambda step: step.why),
        each(lambda step: step.takes),
        each(lambda step: step.risk),
        undo,
    )


def _one(name: str, target_uid: str, plans: Sequence[Plan]) -> Plan:
    """Return the plan that holds all that these hold."""
    return Plan(
        name,
        target_uid,
        tuple(change for plan in plans for change in plan.changes),
        tuple(item for plan in plans for item in plan.unpredictable),
        " ".join(dict.fromkeys(plan.note for plan in plans if plan.note)),
        interruptions=tuple(each for plan in plans for each in plan.interruptions),
        fallback="; ".join(dict.fromkeys(plan.fallback for plan in plans if plan.fallback)),
    )


def _merged(tables: Iterable[Table]) -> tuple[Table, ...]:
    """Join tables about the same; what several steps have looked at is shown once."""
    rows: dict[Table, dict[Row, None]] = {}
    for table in tables:
        key = replace(table, rows=())
        # Where it was looked at last: what is the same for all steps comes after what is not.
        rows[key] = {**rows.pop(key, {}), **dict.fromkeys(table.rows)}
    return tuple(replace(table, rows=tuple(found)) for table, found in rows.items())
