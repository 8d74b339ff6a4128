"""Who would be refused: the dry run is read before the policy is enforced."""

from __future__ import annotations

from dataclasses import replace

from runbook_lib.base import VerificationFailed
from runbook_lib.chapters.policies import manifest
from runbook_lib.chapters.shared import objects
from runbook_lib.cluster import Object, live_object, object_diff, reference
from runbook_lib.lifecycle import (
    Change,
    Context,
    Finding,
    Plan,
    Refused,
    Row,
    Step,
    Table,
    Verification,
    require,
)
from runbook_lib.mesh import dry_run, selection_mistakes, web
from runbook_lib.mesh.dry_run import Decided, Decision, Reading
from runbook_lib.mesh.policy import is_dry_run
from runbook_lib.parameters import Parameters

_REFUSE = "authorization.refuse"


class ReadDryRun(Step):
    """Have sidecars log what the dry run decides, count it, and take the log away again."""

    name = "authorization-dry-run-read"
    title = "Read the dry run: who would be refused"
    why = "clients that use other methods than was thought are found before they are locked out"
    risk = (
        "for that time the web pods' sidecars log method and path of each request, without query "
        "and headers and with nothing that could be a name; as with each change of a policy, "
        "connections that are open are closed within 45 s, and again when the log is removed"
    )
    undo = "nothing to undo: what has them log is removed as soon as it was read"

    def __init__(self, parameters: Parameters) -> None:
        seconds = parameters.authorization.observe
        self.takes = f"{seconds} s (authorization.observe), and some more for the sidecars"
        self._reading: Reading | None = None

    def plan(self, context: Context) -> Plan:
        """Plan the access log, which is removed again; or to remove one that a killed run left."""
        if why := _why_not(context):
            log = dry_run.access_log(context.parameters, {})
            planned = objects.plan_deletion(context, self.name, [log])
            return replace(planned, note=" ".join(filter(None, (why, planned.note))))
        require(selection_mistakes(context))
        log = self._log(context)
        planned = objects.plan_objects(context, self.name, [log], own=True)
        diff = object_diff(None, log)
        run = Change(reference(log), "run", diff.text, diff.digest)
        return replace(planned, changes=(run,), note="It is removed as soon as it was read.")

    def apply(self, context: Context, plan: Plan) -> None:
        """Read the dry run, or remove what was left."""
        self._reading = None
        if plan.lasting:
            log, limit = self._log(context), context.parameters.timeouts.policy
            objects.delete_objects(context, plan, [log], timeout=limit)
        elif not plan.empty:
            seconds = context.parameters.authorization.observe
            self._reading = dry_run.read(context, self._log(context), seconds)

    def verify(self, context: Context) -> Verification:
        """Show what was read; a log of which a part is missing proves nothing.

        Raises:
            VerificationFailed: A part is missing.
        """
        reading = self._reading
        if reading is None:
            return Verification(self.name, note=_why_not(context) or "The dry run was not read.")
        decided, read_pods = _table(context.parameters, reading), _pods(reading)
        if not reading.complete:
            raise VerificationFailed(
                f"not every decision of the dry run was read:\n{decided}\n\n{read_pods}",
                "run this step again, at a time when no web pod is replaced",
            )
        return Verification(self.name, (decided, read_pods), _summary(reading))

    def weighed(self, context: Context, plan: Plan) -> Plan:
        """Return a plan to enforce the policy, with what the dry run says about it.

        Raises:
            Refused: It would refuse requests that the parameters do not name.
        """
        reading = self._reading
        if plan.empty:
            return plan
        if reading is None or not reading.total:
            why = "No dry run was read." if reading is None else _summary(reading)
            unknown = f"who is refused by it. {why}"
            return replace(plan, unpredictable=(*plan.unpredictable, unknown))
        unnamed = [d for d in reading.refused if not _is_named(context.parameters, d)]
        if unnamed:
            raise Refused(_refusal(reading, unnamed, where=plan.changes[0].ref))
        lines = [f"{each.text}: {count} times" for each, count in reading.refused.items()]
        said = "\n".join([_summary(reading), *(f"{line}, as {_REFUSE} says" for line in lines)])
        first, *others = plan.changes
        weighed = Change.of_text(
            first.ref, first.action, f"{first.text}\n\n{said}", first.content, first.unknown
        )
        return replace(plan, changes=(weighed, *others))

    @staticmethod
    def _log(context: Context) -> Object:
        labels = web.labels(context.cluster, context.parameters)
        return dry_run.access_log(context.parameters, labels)


def _why_not(context: Context) -> str:
    """Say why there is no dry run to read; empty if there is one, or will be."""
    parameters = context.parameters
    if parameters.story != "safe":
        return "Who is refused is not looked at: the documented story has no dry run."
    if not parameters.authorization.observe:
        return "Who is refused is not looked at: authorization.observe is 0."
    named = manifest.authorization_policy(parameters, {}, parameters.authorization.methods)
    policy = live_object(context.cluster, named)
    if policy is None:
        return "" if parameters.mode == "plan" else "There is no dry run to read."
    return "" if is_dry_run(policy) else "The policy is in force already: there is no dry run."


def _is_named(parameters: Parameters, decided: Decided) -> bool:
    named = parameters.authorization.refuse
    return any(each.covers(decided.method, decided.path) for each in named)


def _summary(reading: Reading) -> str:
    if not reading.total:
        return f"In {reading.seconds} s no one but the runbook itself asked for anything."
    refused, total = sum(reading.refused.values()), reading.total
    return f"In {reading.seconds} s the dry run would have refused {refused} of {total} requests."


def _refusal(reading: Reading, unnamed: list[Decided], where: str) -> Finding:
    entries = ", ".join(f"{{method: {each.method}, path: {each.path}}}" for each in unnamed)
    return Finding(
        where,
        "requests that are made now would be refused",
        "whoever makes them would be locked out",
        "add what your users need to authorization.methods",
        tuple(f"{each.text}: {reading.counts[each]} in {reading.seconds} s" for each in unnamed),
        parameter=f"{_REFUSE}: [{entries}]",
    )


def _table(parameters: Parameters, reading: Reading) -> Table:
    """Return what was decided: what would be refused by path, the rest by method alone."""
    refused = [
        Row((*_cells(each, count), "yes" if _is_named(parameters, each) else "no"))
        for each, count in reading.refused.items()
    ]
    others: dict[Decided, int] = {}
    for each, count in reading.counts.items():
        if each.verdict is not Decision.REFUSED:
            alike = replace(each, path="any")
            others[alike] = others.get(alike, 0) + count
    rest = [Row((*_cells(each, count), "-")) for each, count in sorted(others.items())]
    title = f"What the dry run decided in {reading.seconds} s, the runbook's own requests left out"
    return Table(
        title, ("method", "path", "requests", "dry run", f"in {_REFUSE}"), (*refused, *rest)
    )


def _cells(each: Decided, count: int) -> tuple[str, ...]:
    return each.method, each.path, str(count), str(each.verdict)


def _pods(reading: Reading) -> Table:
    rows = (Row((p.name, str(p.requests), p.gap or "whole"), not p.gap) for p in reading.pods)
    return Table("Web pods whose sidecars were read", ("pod", "requests", "log"), tuple(rows))
