"""What would refuse a later step: looked for, and told, before the first step changes something."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from runbook_lib import chapters as steps
from runbook_lib.base import RunbookError
from runbook_lib.chapters.shared import preflight
from runbook_lib.chapters.shared.rights import missing
from runbook_lib.lifecycle import Context, Finding, Refused, Row, Step, StepOutcome, Table
from runbook_lib.lifecycle.events import StepFailed
from runbook_lib.lifecycle.lease import NOTEBOOKS_VARIABLE, LeaseHeld

_THREADS = 8

_UNSEEN = "an earlier step may have to come first"
_AGAIN = "go on: the step looks again before it changes anything"


@dataclass(frozen=True)
class Outlook:
    """What is in the way of one step, as things are now.

    Attributes:
        notebook: The notebook that takes the step.
        step: The step's name.
        findings: What was found, whether or not it refuses the step.
        unseen: Why it could not be looked for; None if it could.
    """

    notebook: str
    step: str
    findings: tuple[Finding, ...] = ()
    unseen: RunbookError | None = None

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """What refuses the step."""
        return tuple(each for each in self.findings if each.refuses)


def look(context: Context, notebooks: Sequence[str]) -> Iterator[Outlook]:
    """Ask every step of the notebooks what is in its way; the way back is not among them.

    Args:
        context: Where to look.
        notebooks: Their names.
    """
    context = context.at_one_moment()
    regular = [each for each in notebooks if not steps.CHAPTERS[each].on_request]
    taken = [(each, step) for each in regular for step in steps.of(each, context.parameters)]

    def outlook(where: tuple[str, Step]) -> Outlook:
        notebook, step = where
        try:
            return Outlook(notebook, step.name, tuple(step.obstacles(context)))
        except RunbookError as error:
            return Outlook(notebook, step.name, unseen=error)

    yield from _rights(context, notebooks)
    with ThreadPoolExecutor(_THREADS) as threads:  # each waits for the API server, or for Helm
        yield from threads.map(outlook, taken)


def _rights(context: Context, notebooks: Sequence[str]) -> Iterator[Outlook]:
    """Ask for the rights that the notebooks take; each is told of the first step that needs it."""
    parameters = context.parameters
    taken = {s.name: each for each in notebooks for s in steps.of(each, parameters)}
    found: dict[str, list[Finding]] = {}
    for role in steps.needed(notebooks, parameters) if taken else ():
        for right, finding in missing(context.cluster, role):
            own = [step for step, notebook in taken.items() if {step, notebook} & {*right.steps}]
            step = next(iter(own or taken))
            found.setdefault(step, []).append(finding)
    for step, findings in found.items():
        yield Outlook(taken[step], step, tuple(findings))


def refuse(context: Context, notebooks: Sequence[str]) -> tuple[Outlook, ...]:
    """Let a run begin only if none of its steps would be refused, as far as can be seen.

    What cannot be seen is left to the step: it looks again when it is planned.

    Args:
        context: Where to look, and where refusals are recorded.
        notebooks: Those of the run.

    Returns:
        What was seen.

    Raises:
        Refused: With everything that is in the way of any of its steps.
    """
    seen = tuple(look(context, notebooks))
    refused = [each for each in seen if each.refusals]
    for each in refused:
        _record(context, each.step, each.notebook, Refused(*each.refusals))
    if refused:
        raise Refused(*dict.fromkeys(finding for each in refused for finding in each.refusals))
    return seen


def wait_for_others(
    context: Context, notebooks: Sequence[str], environ: Mapping[str, str] = os.environ
) -> None:
    """Let a run begin only while no other one is at work; keep what an earlier notebook took.

    Args:
        context: Where, and where a refusal is recorded.
        notebooks: Those of the run that begins here; none where none does.
        environ: Where a run says that this kernel is part of it.

    Raises:
        LeaseHeld: Another run is at work.
    """
    if context.lease is None:
        return
    taken = [(each, step) for each in notebooks for step in steps.of(each, context.parameters)]
    if taken:
        try:
            context.lease.wait_for_others()
        except LeaseHeld as error:
            notebook, step = taken[0]
            _record(context, step.name, notebook, error)
            raise
    if environ.get(NOTEBOOKS_VARIABLE):
        context.lease.renew()


def _record(context: Context, step: str, notebook: str, error: RunbookError) -> None:
    """Record that a step is refused before it was planned."""
    context.journal.of_step(step, notebook).record(
        StepFailed(StepOutcome.REFUSED, "plan", type(error).__name__, error.cause, error.remedy)
    )


def table(context: Context, seen: Sequence[Outlook] = ()) -> Table:
    """What is in the way on this cluster, and which step it concerns first.

    Conditions of the cluster come first, then what steps find besides.

    Args:
        context: Where to look.
        seen: What has been seen of steps a moment ago: these are not asked again.
    """
    context = context.at_one_moment()
    shown = preflight.table(context)
    known = {row.cells[1] for row in shown.rows}
    rows: list[Row] = []
    asked = {each.notebook for each in seen}
    for each in (*seen, *look(context, [n for n in steps.regular() if n not in asked])):
        if each.unseen:
            told = (f"cannot tell: {each.unseen.cause.splitlines()[0]}", _UNSEEN)
            rows.append(Row((each.step, *told, _AGAIN)))
        for finding in each.findings:
            if finding.found not in known:
                known.add(finding.found)
                rows.append(preflight.row(each.step, finding))
    if not rows:
        rows.append(Row(("Later steps", "nothing else in the way", "", ""), ok=True))
    return replace(shown, rows=(*shown.rows, *rows))
