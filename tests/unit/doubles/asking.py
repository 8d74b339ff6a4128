"""A gate with a person at it: the target, the plans that are asked about, and what is recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from runbook_lib.base.journal import Event, Journal, read
from runbook_lib.lifecycle.approvals import Approvals
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.lifecycle.step import Step, Verification
from runbook_lib.lifecycle.target import Target
from runbook_lib.notebook.asking import AskingGate, Question
from tests.unit.samples import LAB

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PLAN = Plan("strict", LAB.uid, (Change.of_text("Deployment a/b", "restart", "why"),))
CHANGED = replace(PLAN, changes=(Change.of_text("Deployment a/c", "restart", "why"),))
LATER = replace(PLAN, step="exception")


class Strict(Step):
    name, title, why = "strict", "Be strict", "it is safer"
    takes, risk, undo = "a second", "users see 502", "be lenient again"

    def plan(self, context: Context) -> Plan:
        raise NotImplementedError

    def apply(self, context: Context, plan: Plan) -> None:
        raise NotImplementedError

    def verify(self, context: Context) -> Verification:
        raise NotImplementedError


class Kernel:
    """A gate with a person at it, and what was recorded."""

    def __init__(self, folder: Path, target: Target = LAB, **environ: str) -> None:
        self.journal = Journal(folder / "evidence.jsonl", run="r", step="strict")
        self.approvals = Approvals()
        self.target = target
        self.environ = environ
        self.gate = self.open()

    def open(self) -> AskingGate:
        """What running the notebook's first cell (again) does."""
        return AskingGate(self.target, self.approvals, environ=self.environ, now=lambda: AT)

    def ask(self, plan: Plan = PLAN, *warnings: str) -> Question:
        question = self.gate.ask(plan, Strict(), self.journal, warnings)
        assert isinstance(question, Question)
        return question

    def recorded(self) -> list[Event]:
        return [entry.event for entry in read(self.journal.path).entries]
