"""What all steps of the rollback have in common: what stays, and asking while they change."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from runbook_lib.base import RunbookError
from runbook_lib.chapters.shared import observe
from runbook_lib.cluster import Object, live_object, ownership, reference
from runbook_lib.lifecycle import (
    Check,
    Context,
    Finding,
    Loss,
    Plan,
    Record,
    Refused,
    Row,
    Sampled,
    Severity,
    Step,
    Table,
    Verification,
    of_checks,
    require,
)
from runbook_lib.mesh import sidecars, traffic
from runbook_lib.site import Expectation, Probe, Sampler, Samples

_UNPROVED = (
    "What is marked NO above was so before this step changed anything in this run: it is shown "
    "and not judged."
)

_NOTICED = (Loss.EVERYTHING, Loss.SINGLE_REQUESTS)
"""What even a request that needs nothing but a web pod may meet."""

_HARMLESS = ("GET", "HEAD")
"""Methods that change nothing, so they can be sent as often as one likes."""


class RollbackStep(Step):
    """Takes back what a chapter brought, unless that chapter stays.

    Attributes:
        chapter: The notebook whose changes are taken back.
    """

    chapter: str

    def __init__(self) -> None:
        self._samples: Samples | None = None
        self._interruption = ""
        # What was not as it should be before this step is no reason to stop it: a rollback is
        # taken most of all where something is broken.
        self._answered_before = self._modes_before = False
        self._unproved = False

    def obstacles(self, context: Context) -> Iterator[Finding]:
        """Find what would make the step dangerous; nothing where its chapter stays."""
        if self.why_it_stays(context):
            return
        try:
            yield from self._dangers(context, self.plan_removal(context))
        except Refused as refused:
            yield from refused.findings

    def plan(self, context: Context) -> Plan:
        """Find out what would go; nothing of a chapter that stays.

        Raises:
            Refused: It would be dangerous.
        """
        # What was seen while it was applied before is not about this plan.
        self._samples, self._interruption = None, ""
        if why := self.why_it_stays(context):
            return Plan(self.name, context.target.uid, note=f"{why}.")
        plan = self.plan_removal(context)
        dangers = list(self._dangers(context, plan))
        require(dangers)
        unknown = (f"whether it will be safe: {each.text}" for each in dangers)
        return replace(plan, unpredictable=(*plan.unpredictable, *unknown))

    def apply(self, context: Context, plan: Plan) -> None:
        """Make the changes while asking from outside, and record the answers as evidence."""
        self._interruption = "; ".join(
            dict.fromkeys(each.why for each in plan.interruptions if each.loss in _NOTICED)
        )
        # Once right it has to be right again, also if this step itself has broken it meanwhile.
        self._answered_before |= _shown(lambda: observe.look_at_traffic(context)).proved
        self._modes_before |= _shown(lambda: sidecars.look_at_modes(context)).ok
        with_answer = _answered(context)
        if with_answer is None:
            # There is no answer that this step could take away.
            self.remove(context, plan)
            return
        parameters = context.parameters
        sampler = Sampler(
            context.target.url,
            with_answer,
            timeout=parameters.timeouts.probe,
            verify=context.verify_tls,
        )
        try:
            with sampler:
                self.remove(context, plan)
        finally:
            self._samples = samples = sampler.samples
            context.journal.record(
                Sampled(
                    url=context.target.url,
                    method=with_answer.method,
                    path=with_answer.path,
                    requests=len(samples.all),
                    failed=len(samples.failed),
                    outage_seconds=round(samples.outage, 3),
                    expected=self._interruption,
                    text=samples.text,
                )
            )

    def verify(self, context: Context) -> Verification:
        """Prove that it is gone, and that users did not notice.

        Raises:
            VerificationFailed: It could not be proved in time.
        """
        if why := self.why_it_stays(context):
            checks = [Check(self.chapter, why, ok=None)]
            return Verification(self.name, (of_checks("Kept", checks),))
        self._unproved = False
        result = self.verify_removal(context)
        check = self._meanwhile()
        table = of_checks("Requests from outside, while each step was applied", [check])
        note = " ".join(filter(None, [result.note, _UNPROVED if self._unproved else ""]))
        return replace(result, tables=(*result.tables, table), note=note)

    @abstractmethod
    def plan_removal(self, context: Context) -> Plan:
        """Find out what would go, without changing anything."""

    @abstractmethod
    def remove(self, context: Context, plan: Plan) -> None:
        """Make the changes of `plan` and wait until they have taken effect."""

    @abstractmethod
    def verify_removal(self, context: Context) -> Verification:
        """Prove on the live cluster that it is gone."""

    def dangers(self, context: Context, plan: Plan) -> Iterable[Finding]:  # noqa: ARG002
        """Find what would be dangerous about this plan as things are, without changing anything."""
        return ()

    def why_it_stays(self, context: Context) -> str:
        """Say why nothing is taken back; empty if it is."""
        rollback = context.parameters.rollback
        if self.name in rollback.leave_out:
            return f"left out: {self.name} is in rollback.leave_out"
        if kept(context, self.chapter):
            return f"{self.chapter} stays: rollback.keep is {rollback.keep}"
        return ""

    def traffic(self, context: Context) -> Table:
        """The answers from outside: proved, if they were right before this step changed anything.

        Raises:
            VerificationFailed: They were right before, and are not in time.
        """
        if self._answered_before:
            return observe.prove_traffic(context)
        return self._show(lambda: observe.look_at_traffic(context))

    def modes(self, context: Context) -> Table:
        """What each sidecar does with plaintext: proved, if it was right before this step.

        Raises:
            WaitTimeout: It was right before, and is not in time.
        """
        if self._modes_before:
            return sidecars.prove_modes(context)
        return self._show(lambda: sidecars.look_at_modes(context))

    def _dangers(self, context: Context, plan: Plan) -> Iterator[Finding]:
        """Find the dangers, with the way on without this step.

        In plan mode the steps before have not been applied, so what they mend is only noted.
        """
        leave_out = ", ".join([*context.parameters.rollback.leave_out, self.name])
        for each in self.dangers(context, plan):
            noted = each if context.parameters.mode != "plan" else _as_note(each)
            yield replace(noted, parameter=each.parameter or f"rollback.leave_out: [{leave_out}]")

    def _show(self, look: Callable[[], Table]) -> Table:
        """Look at what cannot be proved; if it is not right, verification says that it was not."""
        seen = replace(_shown(look), counts=False)
        self._unproved |= not seen.proved
        return seen

    def _meanwhile(self) -> Check:
        if self._samples is None:
            return Check(self.name, "nothing was changed in this run", ok=None)
        if self._samples.down_before:
            return Check(self.name, "the site did not answer before this step either", ok=None)
        if not self._samples.failed:
            return Check(self.name, "none failed", ok=True)
        if self._interruption:
            return Check(self.name, f"interrupted: {self._interruption}", ok=None)
        return Check(self.name, self._samples.text, ok=False)


def kept(context: Context, chapter: str) -> bool:
    """Whether a chapter is one of those to keep."""
    # Chapters begin with two digits, so they sort as they are told.
    return chapter <= context.parameters.rollback.keep


def gone(context: Context, item: Object) -> Check:
    """Look whether an object of the runbook's own is gone; one of others may stay."""
    found = live_object(context.cluster, item)
    if found is None:
        return Check(reference(item), "gone", ok=True)
    if not ownership.is_own(found):
        return Check(reference(item), f"stays: {ownership.makers(found)} made it", ok=None)
    return Check(reference(item), "still there", ok=False)


def _as_note(finding: Finding) -> Finding:
    return replace(finding, severity=Severity.NOTE)


def _shown(look: Callable[[], Table]) -> Table:
    """Look; why nothing can be seen, such as a policy that cannot be judged, is seen as well."""
    try:
        return look()
    except RunbookError as error:
        return Table("Could not be seen", ("why",), (Row((error.cause,), ok=False),))


def _answered(context: Context) -> Probe | None:
    """Return a harmless probe that the application itself answers as things are."""
    parameters = context.parameters
    in_force = traffic.policies_in_force(context.cluster, parameters)
    try:
        desired = traffic.expected_probes(parameters, traffic.of_the_runbook(parameters, in_force))
    except RunbookError:  # a policy was changed to something that cannot be judged
        return None
    for probe, own in zip(desired, parameters.application.probes, strict=True):
        if probe.method in _HARMLESS and probe.expected == Expectation(own.status):
            return probe
    return None


def interruptions(run: Record) -> Table:
    """Return what a run recorded about requests sent while steps were applied."""
    # A step that was applied again replaces what it said before.
    last = {attempt.step: attempt.sampled for attempt in run.attempts if attempt.sampled}
    rows = tuple((step, seen.text, seen.expected or "-") for step, seen in last.items())
    columns = ("step", "requests from outside while it was applied", "interruption to be expected")
    return Table.shown("Did users notice?", columns, rows)
