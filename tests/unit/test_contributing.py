"""The examples of CONTRIBUTING do what the text says, with the real classes."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, cast

import pytest

from runbook_lib.base.journal import Journal
from runbook_lib.base.locations import repository_root
from runbook_lib.chapters.shared.chapter import Chapter
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.objects import Object
from runbook_lib.diagnosis import judging, registry
from runbook_lib.diagnosis.observation import Observation
from runbook_lib.lifecycle.approvals import Approvals
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.finding import Severity
from runbook_lib.lifecycle.gate import APPROVE_VARIABLE, Gate
from runbook_lib.lifecycle.lifecycle import LifeCycle
from runbook_lib.lifecycle.outcome import StepOutcome
from tests.unit.samples import LAB, lab_parameters

GUIDE = repository_root() / "CONTRIBUTING.md"
LABEL = {"backup.example.com/schedule": "nightly"}


class OneNamespace:
    """A cluster that holds the application's namespace, and remembers who applied which labels."""

    def __init__(self) -> None:
        self.foreign = {"team": "imaging"}
        self.applied: dict[str, str] = {}

    def uid(self) -> str:
        return LAB.uid

    def get(self, _version: str, _kind: str, name: str, _namespace: str | None) -> Object:
        metadata = {"name": name, "labels": {**self.foreign, **self.applied}}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}

    def apply(self, manifest: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        assert not force
        after = copy.copy(self)
        after.applied = manifest["metadata"]["labels"]
        if not dry_run:
            self.applied = after.applied
        return after.get("v1", "Namespace", manifest["metadata"]["name"], None)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the blocks of Python define, executed one after the other as the reader meets them."""
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))
    defined: dict[str, Any] = {"__name__": "contributing"}
    text = GUIDE.read_text(encoding="utf-8")
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        above = text.count("\n", 0, block.start(1))
        exec(compile("\n" * above + block[1], str(GUIDE), "exec"), defined)
    return defined


@pytest.fixture
def cluster() -> OneNamespace:
    return OneNamespace()


@pytest.fixture
def context(cluster: OneNamespace, tmp_path: Path) -> Context:
    journal = Journal(tmp_path / "evidence.jsonl", run="r", notebook="08_backup")
    return Context(lab_parameters(), LAB, cast(Cluster, cluster), journal)


def test_the_step_is_planned_approved_applied_and_proved(
    example: dict[str, Any], cluster: OneNamespace, context: Context
) -> None:
    chapter: Chapter = example["backup"]
    (step,) = chapter.steps(context.parameters)
    life = LifeCycle(step, context, Gate(LAB, Approvals(), environ={APPROVE_VARIABLE: LAB.name}))
    life.plan()
    assert cluster.applied == {}
    life.gate()
    life.apply()
    life.verify()
    assert life.outcome is StepOutcome.VERIFIED
    assert cluster.applied == LABEL
    assert step.plan(context).empty


def test_the_way_back_removes_what_the_step_applied_and_nothing_else(
    example: dict[str, Any], cluster: OneNamespace, context: Context
) -> None:
    cluster.applied = dict(LABEL)
    chapter: Chapter = example["backup"]
    assert chapter.has_way_back
    (step,) = chapter.way_back(context.parameters)
    assert step.chapter == chapter.id
    assert not step.verify_removal(context).ok
    step.remove(context, step.plan(context))
    assert step.verify_removal(context).ok
    assert cluster.get("v1", "Namespace", "xnat", None)["metadata"]["labels"] == cluster.foreign


@pytest.mark.usefixtures("example")
def test_the_rule_finds_the_missing_label_and_is_silent_where_it_is_there(
    cluster: OneNamespace,
) -> None:
    def found() -> list[Severity]:
        namespace = cluster.get("v1", "Namespace", "xnat", None)
        seen = Observation(lab_parameters(), namespace=namespace)
        return [each.severity for each in judging.judge(seen) if each.name == "not-in-the-backup"]

    assert found() == [Severity.NOT_DONE]
    cluster.applied = dict(LABEL)
    assert found() == []


@pytest.mark.usefixtures("example")
def test_the_rule_is_not_judged_where_the_namespace_could_not_be_seen() -> None:
    seen = Observation(lab_parameters(), unseen={"namespace": "forbidden"})
    assert "not-in-the-backup" in {each.name for each in judging.unjudged(seen)}
