"""The report of a run: one self-contained HTML page, made from the evidence alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from runbook_lib.base import evidence
from runbook_lib.lifecycle import runs, yes_no

Event = dict[str, Any]

# What a step's record ends with, from the last event that says so.
_OUTCOMES = {
    "step-planned": "planned",
    "step-applied": "applied",
    "step-verified": "verified",
    "step-failed": "failed",
    "step-skipped": "skipped",
}
# Errors that stop a step without anything being wrong: a person has not decided, or decides anew.
_UNDECIDED = ("NotApproved", "PlanChanged")


@dataclass
class StepRecord:
    """What the evidence says about one step.

    Attributes:
        outcome: How far it came last: `planned`, `applied`, `verified`, `skipped`,
            `not approved` or `failed`.
        changes: What the plan showed: ref, action and text of each change.
        changed: What was changed.
        tables: What was seen when it was verified.
        seconds: Time spent applying and verifying.
    """

    notebook: str
    name: str
    outcome: str = "planned"
    summary: str = ""
    digest: str = ""
    changes: list[Event] = field(default_factory=list)
    unpredictable: list[str] = field(default_factory=list)
    approved_by: str = ""
    approved_how: str = ""
    approved_at: str = ""
    changed: list[str] = field(default_factory=list)
    tables: list[Event] = field(default_factory=list)
    note: str = ""
    cause: str = ""
    remedy: str = ""
    seconds: float = 0.0

    def add(self, event: Event) -> None:
        """Take one event of this step into account."""
        kind = event["event"]
        self.outcome = _OUTCOMES.get(kind, self.outcome)
        if kind == "step-planned":
            self.summary, self.digest = event["summary"], event["digest"]
            self.changes, self.unpredictable = event["changes"], event["unpredictable"]
        elif kind == "step-approved":
            self.approved_by, self.approved_how = event["by"], event["how"]
            self.approved_at = event["approved_at"]
        elif kind == "step-applied":
            self.changed = event["changed"]
            self.seconds += event["seconds"]
        elif kind == "step-verified":
            self.tables, self.note = event["tables"], event["note"]
            self.seconds += event["seconds"]
        elif kind == "step-failed":
            if event["error"] in _UNDECIDED:
                self.outcome = "not approved"
            self.cause, self.remedy = event["cause"], event["remedy"]
        if kind != "step-failed":
            self.cause = self.remedy = ""  # of an attempt that was followed by another


def steps_of(events: Iterable[Event]) -> list[StepRecord]:
    """One record a step, in the order in which the steps were first planned."""
    records: dict[tuple[str, str], StepRecord] = {}
    for event in events:
        if "step" not in event:
            continue
        key = (event.get("notebook", ""), event["step"])
        records.setdefault(key, StepRecord(*key)).add(event)
    return list(records.values())


def render(events: list[Event]) -> str:
    """The report as an HTML page; everything from the evidence is escaped."""
    from jinja2 import Environment, StrictUndefined  # takes a while to import

    source = (
        resources.files("runbook_lib.headless").joinpath("templates/report.html.j2").read_text()
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["yes_no"] = yes_no
    template = environment.from_string(source)
    started = next((each for each in events if each["event"] == "notebook-started"), {})
    return template.render(
        steps=steps_of(events),
        run=next((each["run"] for each in events if "run" in each), ""),
        began=next((each["time"] for each in events if "time" in each), ""),
        ended=next((each["time"] for each in reversed(events) if "time" in each), ""),
        target=started,
    )


def write(run_folder: Path) -> Path:
    """Write `report.html` beside the run's evidence; returns its path."""
    path = run_folder / "report.html"
    with runs.written_to(run_folder):
        path.write_text(render(evidence.read(run_folder / runs.EVIDENCE)), encoding="utf-8")
    return path
