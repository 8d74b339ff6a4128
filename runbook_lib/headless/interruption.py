"""Say where an interrupted run left the cluster and the site."""

from __future__ import annotations

from runbook_lib import chapters as steps
from runbook_lib.lifecycle import Record, StepOutcome, StepRecord
from runbook_lib.parameters import Parameters
from runbook_lib.site import probe

_PROBE_SECONDS = 5.0
"""For the one look at the site: whoever presses Ctrl-C wants an end."""

_REACHED = {
    StepOutcome.INTERRUPTED: "while {step} was being applied: its state is unknown",
    StepOutcome.APPLIED: "after {step} was applied and before it was verified",
    StepOutcome.VERIFIED: "after {step} was verified",
    StepOutcome.FAILED: "after {step} failed",
}


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
    undo = _undo(last, parameters)
    if not url:
        lines.append(f"What was done so far stays: run again to go on, or take it back: {undo}.")
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
            f"Run again to go on, or take {last.step} back: {undo}."
        )
    return lines


def _undo(last: StepRecord, parameters: Parameters) -> str:
    found = (step.undo for step in steps.of(last.notebook, parameters) if step.name == last.step)
    return next(found, "see its notebook")
