"""Take chapters in this process, call by call as the cells of their notebooks do.

Without a kernel and without papermill it is a third of the work. For claims about the cluster; what
notebooks and runs add is claimed by tests that run them (`tests/notebooks/headless.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runbook_lib.base import journal
from runbook_lib.cluster import Cluster
from runbook_lib.lifecycle import Context, Probed, Record, StepOutcome, runs, target
from runbook_lib.notebook.runbook import Runbook
from runbook_lib.parameters import Parameters, loading
from tests.labs import Lab


def parameters_for(lab: Lab, file: Path | None = None, **given: Any) -> Parameters:
    """The parameters of a file, or a lab's own, for this lab and with some sections given."""
    layer = loading.Layer("the test", {**given, "target": {"lab": lab.name}})
    return loading.load(file, [layer]).parameters


def take_chapter(parameters: Parameters, chapter: str, folder: Path) -> Record:
    """Plan, gate, apply and verify every step of a chapter, which must succeed.

    Args:
        parameters: Which cluster, and how.
        chapter: A notebook's name.
        folder: A run's, for this chapter alone; it is made.

    Returns:
        What it recorded.
    """
    folder.mkdir(exist_ok=True)
    pinned = target.resolve(parameters)
    evidence = runs.open_journal(folder, chapter)
    opened = Runbook(chapter, Context(parameters, pinned, Cluster.of(pinned), evidence))
    for stage in opened.stages:
        stage.gate()
        stage.apply()
        stage.verify()
    for step in opened.steps if not opened.stages else ():
        step.plan()
        step.gate()
        step.apply()
        step.verify()
    record = runs.record_of(folder)
    assert {each.outcome for each in record.steps} == {StepOutcome.VERIFIED}
    return record


def changed(record: Record) -> list[str]:
    """The steps that changed something, in their order."""
    return [each.step for each in record.steps if each.changed]


def answers(folder: Path, step: str) -> dict[str, str]:
    """What the site answered to each method when a step was verified."""
    entries = journal.read(folder / runs.EVIDENCE).entries
    own = [entry.event for entry in entries if entry.step == step]
    probed = [event for event in own if isinstance(event, Probed)][-1]
    return {a.method: f"{a.status or '-'} {a.detail}".strip() for a in probed.answers}
