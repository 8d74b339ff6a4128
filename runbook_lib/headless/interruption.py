"""Say where an interrupted run left the cluster and the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runbook_lib import chapters as steps
from runbook_lib.base import evidence
from runbook_lib.lifecycle import runs
from runbook_lib.parameters import Parameters
from runbook_lib.site import probe

_PROBE_SECONDS = 5.0
"""For the one look at the site: whoever presses Ctrl-C wants an end."""

_REACHED = {
    "step-approved": "while {step} was being applied",
    "step-applied": "after {step} was applied and before it was verified",
    "step-verified": "after {step} was verified",
}


def describe(folder: Path, parameters: Parameters) -> list[str]:
    """Return what was done last, how the site answers now, and what to do, a line each.

    Args:
        folder: The run's folder.
        parameters: The run's parameters.
    """
    events = evidence.read(folder / runs.EVIDENCE)
    changing = [event for event in events if _is_change(event)]
    if not changing:
        return ["Interrupted before this run changed anything: run again to go on."]
    last = changing[-1]
    lines = [f"Interrupted {_REACHED[last['event']].format(step=last['step'])}."]
    started = next((event for event in events if event["event"] == "notebook-started"), {})
    url = str(started.get("url") or "")
    undo = _undo(last, parameters)
    if not url:
        lines.append(f"What was done so far stays: run again to go on, or take it back: {undo}.")
        return lines
    wanted = parameters.application.probes[0]
    application = parameters.application
    expectation = probe.Probe(wanted.method, wanted.path, probe.Expectation(wanted.status))
    answer = probe.send(
        url,
        expectation,
        timeout=min(parameters.timeouts.probe, _PROBE_SECONDS),
        verify=application.ca_file or application.verify_tls,
    )
    found = f"The site answers {wanted.method} {wanted.path} with {answer.status or answer.error}"
    if answer.status == wanted.status:
        lines.append(f"{found}, as it should. Run again to go on.")
    else:
        lines.append(
            f"{found}, and should with {wanted.status}: users cannot work. "
            f"Run again to go on, or take {last['step']} back: {undo}."
        )
    return lines


def _is_change(event: dict[str, Any]) -> bool:
    if event["event"] == "step-approved":
        return True
    return event["event"] in _REACHED and bool(event["changed"])


def _undo(event: dict[str, Any], parameters: Parameters) -> str:
    found = (
        step.undo for step in steps.of(event["notebook"], parameters) if step.name == event["step"]
    )
    return next(found, "see its notebook")
