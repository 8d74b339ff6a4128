"""What an interrupted run left on the cluster: taken back if asked for, and said in any case."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from runbook_lib import chapters as steps
from runbook_lib.base import RunbookError, TargetChanged
from runbook_lib.cluster import Cluster
from runbook_lib.lifecycle import (
    Context,
    Record,
    StepOutcome,
    StepRecord,
    lease,
    reverting,
    runs,
    target,
)
from runbook_lib.parameters import Parameters
from runbook_lib.site import probe

_PROBE_SECONDS = 5.0
"""For the one look at the site: whoever presses Ctrl-C wants an end."""

_REACHED = {
    StepOutcome.INTERRUPTED: "while {step} was being applied: its state is unknown",
    StepOutcome.APPLIED: "after {step} was applied and before it was verified",
    StepOutcome.VERIFIED: "after {step} was verified",
    StepOutcome.FAILED: "after {step} failed",
    StepOutcome.TAKEN_BACK: "and taken back: {step}",
}


def go_back(folder: Path, parameters: Parameters) -> str:
    """Take back what a run that did not reach its end left unfinished, or say how that is done.

    The runner does it, because it outlives a kernel that was killed.

    Args:
        folder: The run's, whose kernels have ended.
        parameters: The run's parameters.

    Returns:
        What came of it, for people; empty if there was nothing, or if a kernel has said it.
    """
    run = runs.record_of(folder)
    if not run.attempts or run.started is None or parameters.mode == "plan":
        return ""
    notebook = run.attempts[-1].notebook
    taken = steps.of(notebook, parameters)
    left = reverting.left_by(folder, run.started.uid, notebook, taken)
    if not left or left[0].left:
        return ""
    journal = runs.open_journal(folder, notebook)
    if not parameters.reverts:
        return reverting.leave(left, "on_failure is stop", journal).text
    try:
        pinned = target.resolve(parameters)
        if run.started.uid != pinned.uid:
            raise TargetChanged(f"{pinned.name} is not the cluster that this run has changed")
    except (RunbookError, KeyboardInterrupt) as error:
        return reverting.leave(left, reverting.reason(error), journal).text
    cluster = Cluster.of(pinned)
    own = lease.of_run(cluster, parameters, folder / runs.EVIDENCE)
    context = Context(parameters, pinned, cluster, journal, lease=own)
    return reverting.take_back(left, taken, context).text


def let_others(folder: Path, parameters: Parameters) -> None:
    """Let another run have its turn, now that this one has ended; else it waits for the Lease.

    Args:
        folder: The run's, whose kernels have ended.
        parameters: The run's parameters.
    """
    if not any(attempt.touched for attempt in runs.record_of(folder).attempts):
        return  # it took none
    # The run has its result already, and a Lease that nobody renews expires.
    with suppress(RunbookError):
        cluster = Cluster.of(target.resolve(parameters))
        lease.of_run(cluster, parameters, folder / runs.EVIDENCE).release()


def describe(run: Record, parameters: Parameters) -> list[str]:
    """Return what was done last, how the site answers now, and what to do, a line each.

    Args:
        run: What was recorded.
        parameters: The run's parameters.
    """
    changing = [attempt for attempt in run.attempts if attempt.touched]
    if not changing:
        return ["Interrupted before this run changed anything: run again to go on."]
    last = changing[-1]
    lines = [f"Interrupted {_REACHED[last.outcome].format(step=last.step)}."]
    url = run.started.url if run.started else ""
    way_back = f", or take {last.step} back: {_undo(last, parameters)}"
    if last.left or last.outcome is StepOutcome.TAKEN_BACK:
        way_back = ""  # it was tried, and said
    if not url:
        lines.append(f"Run again to go on{way_back}.")
        return lines
    desired = parameters.application.probes[0]
    application = parameters.application
    expectation = probe.Probe(desired.method, desired.path, probe.Expectation(desired.status))
    answer = probe.send(
        url,
        expectation,
        timeout=min(parameters.timeouts.probe, _PROBE_SECONDS),
        verify=application.ca_file or application.verify_tls,
    )
    found = f"The site answers {desired.method} {desired.path} with {answer.status or answer.error}"
    if answer.status == desired.status:
        lines.append(f"{found}, as it should. Run again to go on.")
    else:
        lines.append(
            f"{found}, and should with {desired.status}: users cannot work. "
            f"Run again to go on{way_back}."
        )
    return lines


def _undo(last: StepRecord, parameters: Parameters) -> str:
    found = (step.undo for step in steps.of(last.notebook, parameters) if step.name == last.step)
    return next(found, "see its notebook")
