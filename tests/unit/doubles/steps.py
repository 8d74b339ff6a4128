"""Steps and a cluster without a cluster, for what comes before and after a step's own work."""

from __future__ import annotations

from collections.abc import Callable

from runbook_lib.lifecycle.before import Before, Former
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.lifecycle.step import Revertible, Step, Verification
from runbook_lib.lifecycle.table import Row, Table
from tests.unit.samples import LAB


class ALabel(Step):
    """A step on a cluster that is a set: it adds its name."""

    title, why, takes = "Add a name", "because", "a second"
    risk, undo = "none", "remove it"

    def __init__(self, name: str, cluster: set[str]) -> None:
        self.name = name
        self.cluster = cluster
        self.applying: Callable[[], None] = lambda: None
        self.applied = 0

    def plan(self, context: Context) -> Plan:
        there = self.name in self.cluster
        others = ",".join(sorted(self.cluster))
        change = Change.of_text(self.name, "create", f"+{self.name} beside {others}")
        return Plan(self.name, context.target.uid, () if there else (change,))

    def apply(self, _context: Context, _plan: Plan) -> None:
        self.applying()
        self.applied += 1
        self.cluster.add(self.name)

    def verify(self, _context: Context) -> Verification:
        there = self.name in self.cluster
        table = Table("", ("name",), (Row((self.name,), there),))
        return Verification(self.name, (table,))


class ARevertibleLabel(ALabel, Revertible):
    """The same, and its name can be taken away again unless somebody renamed it."""

    def __init__(self, name: str, cluster: set[str], *, interim: bool = False) -> None:
        super().__init__(name, cluster)
        self.interim = interim
        self.verifying: Callable[[], None] = lambda: None
        self.looking: Callable[[], None] = lambda: None
        self.restoring: Callable[[], None] = lambda: None

    def verify(self, context: Context) -> Verification:
        self.verifying()
        return super().verify(context)

    def before(self, _context: Context, _plan: Plan) -> Before:
        return Before((Former(self.name, {}, None, "", f"remove {self.name}"),), served=True)

    def refuse_changed(self, _context: Context, _before: Before) -> None:
        self.looking()

    def restore(self, _context: Context, _before: Before) -> None:
        self.restoring()
        self.cluster.discard(self.name)

    def verify_restored(self, _context: Context, _before: Before) -> Verification:
        gone = self.name not in self.cluster
        table = Table("back", ("name",), (Row((self.name,), gone),))
        return Verification(self.name, (table,))


class Pinned:
    """A cluster that knows only who it is."""

    def __init__(self) -> None:
        self.identity = LAB.uid

    def uid(self) -> str:
        return self.identity
