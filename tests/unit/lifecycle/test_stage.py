"""Stages: one plan and one approval for several steps, each proved before the next one begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from runbook_lib.base.errors import NotApproved, PlanChanged, RunbookError, VerificationFailed
from runbook_lib.base.journal import Journal
from runbook_lib.cluster.client import Cluster
from runbook_lib.lifecycle.approvals import Approvals
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.gate import APPROVE_VARIABLE, Gate
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.lifecycle.stage import Stage
from runbook_lib.lifecycle.step import Step, Verification
from runbook_lib.lifecycle.table import Row, Table
from tests.unit.samples import LAB, lab_parameters


class Removal(Step):
    """Takes a name out of a cluster that is a set, once nothing that needs it is left."""

    title, why, takes = "Remove a name", "it is not needed", "a second"
    undo = "add it again"

    def __init__(self, name: str, cluster: set[str], needed_by: str = "") -> None:
        self.name, self.risk = name, f"{name} is away"
        self.cluster, self.needed_by = cluster, needed_by
        self.applying: Callable[[], None] = lambda: None
        self.proved = True
        self.more: tuple[Change, ...] = ()

    def plan(self, context: Context) -> Plan:
        if self.name not in self.cluster:
            return Plan(self.name, context.target.uid)
        changes = (Change.of_text(self.name, "delete", self.name), *self.more)
        if self.needed_by not in self.cluster:
            return Plan(self.name, context.target.uid, changes)
        if context.parameters.mode != "plan":
            raise RunbookError(f"{self.needed_by} needs {self.name}")
        return Plan(self.name, context.target.uid, changes, ("whether it will be safe",))

    def apply(self, _context: Context, _plan: Plan) -> None:
        self.applying()
        self.cluster.remove(self.name)

    def verify(self, _context: Context) -> Verification:
        rows = (Row((self.name,), self.proved and self.name not in self.cluster),)
        tables = Table("Names", ("name",), rows), Table("Site", ("answer",), (Row(("200",)),))
        return Verification(self.name, tables)


class Pinned:
    """A cluster that knows only who it is."""

    def uid(self) -> str:
        return LAB.uid


class Kernel:
    """A stage of two steps: a house, and the ground that it needs."""

    def __init__(self, folder: Path, *, approve: str = "lab-default", mode: str = "apply") -> None:
        self.cluster = {"house", "ground", "tree"}
        self.path = folder / "evidence.jsonl"
        context = Context(
            lab_parameters(mode=mode),
            LAB,
            cast(Cluster, Pinned()),
            Journal(self.path, run="r", notebook="n"),
        )
        gate = Gate(LAB, Approvals(), environ={APPROVE_VARIABLE: approve})
        self.house = Removal("house", self.cluster)
        self.ground = Removal("ground", self.cluster, needed_by="house")
        steps = (self.house, self.ground)
        self.stage = Stage("clear", "Clear the plot", steps, context, gate)

    def events(self) -> list[tuple[str, str]]:
        return [(e["step"], e["event"].removeprefix("step-")) for e in self.lines()]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_a_stage_is_asked_about_as_one_with_what_each_step_risks(kernel: Kernel) -> None:
    asked = kernel.stage.gate()
    assert [c.ref for c in asked.proposal.plan.changes] == ["house", "ground"]
    assert asked.decision.verdict == "approved"
    assert asked.proposal.step.risk == "house: house is away; ground: ground is away"
    assert asked.proposal.step.undo == "add it again"


def test_steps_are_taken_in_order_and_each_is_proved_before_the_next(kernel: Kernel) -> None:
    kernel.stage.gate()
    assert kernel.stage.apply().changed == ("delete house", "delete ground")
    kernel.stage.verify()
    assert kernel.cluster == {"tree"}
    assert kernel.events() == [
        *(("house", event) for event in ("planned", "approved", "applying", "applied", "verified")),
        *(("ground", event) for event in ("planned", "approved", "applying", "applied")),
        *((step, "verified") for step in ("house", "ground")),
    ]


def test_every_change_was_approved_under_its_own_digest(kernel: Kernel) -> None:
    kernel.stage.gate()
    kernel.stage.apply()
    for step in ("house", "ground"):
        digests = {e["digest"] for e in kernel.lines() if e["step"] == step and "digest" in e}
        assert len(digests) == 1


def test_nothing_is_changed_without_the_approval(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, approve="none")
    assert kernel.stage.gate().decision.verdict == "not approved"
    with pytest.raises(NotApproved):
        kernel.stage.apply()
    assert kernel.cluster == {"house", "ground", "tree"}


def test_an_approval_does_not_cover_what_was_not_in_the_plan(kernel: Kernel) -> None:
    kernel.stage.gate()
    kernel.ground.more = (Change.of_text("tree", "delete", "tree"),)
    with pytest.raises(PlanChanged, match=r"ground: .* not approved with clear: delete tree"):
        kernel.stage.apply()
    assert kernel.cluster == {"ground", "tree"}


def test_an_approval_does_not_cover_another_content_of_the_first_plan(kernel: Kernel) -> None:
    kernel.stage.gate()
    kernel.house.more = (Change.of_text("tree", "delete", "tree"),)
    with pytest.raises(PlanChanged):
        kernel.stage.apply()
    assert kernel.cluster == {"house", "ground", "tree"}


def test_what_a_step_before_has_changed_may_read_otherwise_than_in_the_plan(kernel: Kernel) -> None:
    kernel.house.more = (Change.of_text("ground", "change", "softer"),)
    kernel.ground.more = (Change.of_text("ground", "change", "hard"),)
    kernel.stage.gate()
    kernel.ground.more = (Change.of_text("ground", "change", "soft"),)
    kernel.stage.apply()
    assert kernel.cluster == {"tree"}


def test_a_step_that_fails_half_way_is_named_and_the_next_is_not_taken(kernel: Kernel) -> None:
    def refuse() -> None:
        raise RunbookError("the tenant is at home", "wait")

    kernel.stage.gate()
    kernel.house.applying = refuse
    with pytest.raises(RunbookError, match=r"^house: the tenant is at home\n→ wait$"):
        kernel.stage.apply()
    assert kernel.cluster == {"house", "ground", "tree"}
    assert kernel.events()[-1] == ("house", "failed")


def test_a_step_that_is_not_proved_keeps_the_next_from_changing_anything(kernel: Kernel) -> None:
    kernel.stage.gate()
    kernel.house.proved = False
    with pytest.raises(VerificationFailed, match="house is not verified"):
        kernel.stage.apply()
    assert kernel.cluster == {"ground", "tree"}


def test_the_gate_may_be_run_again_after_a_failure(kernel: Kernel) -> None:
    kernel.stage.gate()
    kernel.house.proved = False
    with pytest.raises(VerificationFailed):
        kernel.stage.apply()
    kernel.house.proved = True
    assert [c.ref for c in kernel.stage.gate().proposal.plan.changes] == ["ground"]
    assert kernel.stage.apply().changed == ("delete ground",)
    assert kernel.stage.verify().ok


def test_what_several_steps_have_looked_at_is_shown_once(kernel: Kernel) -> None:
    kernel.stage.gate()
    kernel.stage.apply()
    names, site = kernel.stage.verify().tables
    assert [row.cells for row in names.rows] == [("house",), ("ground",)]
    assert [row.cells for row in site.rows] == [("200",)]


def test_plan_mode_plans_every_step_and_changes_nothing(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, mode="plan")
    asked = kernel.stage.gate()
    assert asked.proposal.plan.unpredictable == ("whether it will be safe",)
    assert asked.decision.verdict == "not needed"
    assert kernel.stage.apply().text == "Plan mode: nothing was applied."
    assert kernel.stage.verify().ok
    assert kernel.cluster == {"house", "ground", "tree"}
    assert kernel.events() == [("house", "planned"), ("ground", "planned")]


def test_the_outlook_refuses_and_records_nothing(kernel: Kernel) -> None:
    (_, house), (_, ground) = kernel.stage.outlook()
    assert isinstance(house, Plan)
    assert isinstance(ground, Plan)
    assert ground.unpredictable == ("whether it will be safe",)
    assert not kernel.path.exists()


def test_an_apply_without_a_gate_says_what_to_run_first(kernel: Kernel) -> None:
    with pytest.raises(RunbookError, match="run the gate cell first"):
        kernel.stage.apply()


def test_a_first_plan_that_has_shrunk_is_named_with_what_is_left_of_it(kernel: Kernel) -> None:
    kernel.house.more = (Change.of_text("tree", "delete", "tree"),)
    kernel.stage.gate()
    kernel.house.more = ()
    said = "house: the plan was to delete house, delete tree, and now is: delete house"
    with pytest.raises(PlanChanged, match=said):
        kernel.stage.apply()
    assert kernel.cluster == {"house", "ground", "tree"}
