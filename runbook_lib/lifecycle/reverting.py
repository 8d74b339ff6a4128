"""What becomes of changes whose step failed: taken back, or left with the command that does it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runbook_lib.base import MASK, Journal, RunbookError
from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.before import Before, Former
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.events import StepLeft, StepTakenBack
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.lifecycle.record import StepRecord
from runbook_lib.lifecycle.step import Revertible, Step, Verification


def fallback(step: Step, plan: Plan, *, reverts: bool, with_it: Sequence[str] = ()) -> str:
    """Say what happens if a plan of a step is applied and not verified.

    Args:
        step: The step.
        plan: The plan.
        reverts: Whether steps that fail are taken back.
        with_it: Steps that go back together with this one.
    """
    if not plan.lasting:
        return ""
    if not isinstance(step, Revertible):
        return f"nothing is taken back by itself; by hand: {step.undo}"
    if not reverts:
        return "nothing is taken back; the command that does so is shown (on_failure: stop)"
    then = {"create": "is removed again"}
    back = [
        f"{each.ref} {then.get(each.action, 'goes back to what it is')}" for each in plan.lasting
    ]
    back += [f"what {name} changed goes back as well" for name in with_it]
    return f"{', and '.join(back)} (on_failure: revert)"


def interim(steps: Iterable[Step]) -> frozenset[str]:
    """Return the names of those steps that do not stay without the ones that follow."""
    return frozenset(step.name for step in steps if step.interim)


def unfinished(
    attempts: Sequence[StepRecord], notebook: str, interim: Collection[str]
) -> tuple[StepRecord, ...]:
    """Return the attempts that a failure leaves to be taken back, the latest first.

    That is what was changed and not proved; and beneath it what was proved, and is not to stay
    without a later step that was.

    Args:
        attempts: What was recorded of one cluster, oldest first, of one run or of several.
        notebook: The notebook whose steps these are.
        interim: Its steps that do not stay without a later one.
    """
    found: list[StepRecord] = []
    for attempt in reversed([each for each in attempts if each.notebook == notebook]):
        settled = attempt.outcome is StepOutcome.VERIFIED and attempt.step not in interim
        if settled or attempt.outcome is StepOutcome.TAKEN_BACK:
            break
        if not attempt.touched:
            continue
        if attempt.before is None:
            break
        found.append(attempt)
    return tuple(found)


def left_by(folder: Path, uid: str, notebook: str, steps: Iterable[Step]) -> tuple[StepRecord, ...]:
    """Return what is unfinished after the run so far; arguments and result as for `unfinished`.

    Args:
        folder: The run's.
        uid: The cluster's.
        notebook: The notebook whose steps these are.
        steps: Its steps.
    """
    waiting = interim(steps)
    attempts = runs.record_of(folder).attempts
    own = [each for each in attempts if each.notebook == notebook and each.step in waiting]
    found = {each.step for each in own if each.outcome is StepOutcome.VERIFIED}
    if found - {each.step for each in own if each.touched}:
        # An earlier run has changed it: whoever approves at a button begins a new one each time.
        attempts = (*runs.attempts_on(folder.parent, uid, before=folder.name), *attempts)
    return unfinished(attempts, notebook, waiting)


def command(attempts: Iterable[StepRecord]) -> str:
    """Return the one line for a shell that takes attempts back, in this order."""
    objects = [former for each in attempts for former in reversed(_before(each).objects)]
    return " && ".join(dict.fromkeys(former.command for former in objects))


def waiting(attempts: Sequence[StepRecord]) -> str:
    """Say that steps wait for a later one, and how they are taken back instead."""
    names = ", ".join(dict.fromkeys(attempt.step for attempt in attempts))
    return (
        f"What {names} changed is in force, and waits for what follows. Go on, or take it back:\n"
        f"  {command(attempts)}"
    )


@dataclass(frozen=True)
class Aftermath:
    """What became of the changes.

    Attributes:
        text: It in words, with the command if something is left to be done.
        taken_back: The names of the steps that are taken back, proved.
    """

    text: str
    taken_back: tuple[str, ...] = ()


def leave(attempts: Sequence[StepRecord], reason: str, journal: Journal) -> Aftermath:
    """Record why nothing is taken back, and the command that does it.

    Args:
        attempts: What is left, the latest first.
        reason: Why.
        journal: The run's.
    """
    latest, line = attempts[0], command(attempts)
    journal.of_step(latest.step, latest.notebook).record(StepLeft(reason, line))
    return Aftermath(f"Not taken back: {reason}. This takes it back:\n  {line}")


def take_back(attempts: Sequence[StepRecord], steps: Sequence[Step], context: Context) -> Aftermath:
    """Put back what the attempts changed, the latest first, and then prove that all is as before.

    Whatever goes wrong here is part of the result: the error that led here is the one to be raised.

    Args:
        attempts: As `unfinished` returns them, at least one.
        steps: The notebook's steps.
        context: Where.
    """
    taken = {step.name: step for step in steps if isinstance(step, Revertible)}
    left = list(attempts)
    try:
        _put_back(left, taken, context)
    except (Exception, KeyboardInterrupt) as error:
        return leave(left, reason(error), context.journal)
    first = attempts[-1]
    texts = dict.fromkeys(former.text for each in attempts for former in _before(each).objects)
    try:
        seen = taken[first.step].verify_restored(_of(first, context), _before(first))
        why = "" if seen.ok else str(seen)
    except (Exception, KeyboardInterrupt) as error:
        seen, why = Verification(first.step), reason(error)
    if why:
        text = f"{', '.join(texts)}: taken back, and not proved: {why}"
        _of(attempts[0], context).journal.record(StepLeft(text, ""))
        return Aftermath(text)
    for attempt in attempts:
        own = tuple(former.text for former in _before(attempt).objects)
        tables = seen.tables if attempt is first else ()
        _of(attempt, context).journal.record(StepTakenBack(own, tables))
    names = tuple(dict.fromkeys(each.step for each in attempts))
    done = f"Taken back, and proved: {', '.join(texts)}. By hand it would have been:"
    return Aftermath(f"{done}\n  {command(attempts)}", names)


def _put_back(left: list[StepRecord], taken: Mapping[str, Revertible], context: Context) -> None:
    """Put back what the attempts changed, the latest first; those that are done leave the list."""
    context.target.verify_same(context.cluster)
    with context.alone():
        # All of it before the first: half of the way back may be worse than none.
        known: set[str] = set()
        for attempt in left:
            # Of an object that two of them changed only the later change can be seen.
            objects = tuple(o for o in _before(attempt).objects if o.ref not in known)
            _refuse_masked(objects)
            latest = replace(_before(attempt), objects=objects)
            taken[attempt.step].refuse_changed(_of(attempt, context), latest)
            known |= {former.ref for former in objects}
        while left:
            attempt = left[0]
            taken[attempt.step].restore(_of(attempt, context), _before(attempt))
            left.pop(0)


def _before(attempt: StepRecord) -> Before:
    assert attempt.before is not None, "only what can be put back is among the unfinished"
    return attempt.before


def _of(attempt: StepRecord, context: Context) -> Context:
    return replace(context, journal=context.journal.of_step(attempt.step, attempt.notebook))


def _refuse_masked(objects: Iterable[Former]) -> None:
    """Refuse what the evidence does not hold as it was: it keeps no secrets."""
    for former in objects:
        if MASK in str(former.manifest):
            raise RunbookError(
                f"{former.ref}: its former content looks secret, and is not recorded"
            )


def reason(error: BaseException) -> str:
    """Say in words why something was not taken back."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted while taking back"
    return getattr(error, "cause", "") or f"{type(error).__name__}: {error}"
