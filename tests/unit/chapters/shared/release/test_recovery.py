"""Which revision a stuck release goes on from, and when no Helm is at work on it any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.journal import Journal
from runbook_lib.chapters.shared.release import recovery
from runbook_lib.cluster.client import Cluster
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.target import Target
from runbook_lib.tools.releases import Release
from tests.unit.samples import LAB, PRODUCTION, lab_parameters


def revisions(*states: str, age: float = 1000) -> list[Release]:
    """A history whose last operation began `age` seconds ago."""
    since = datetime.now(UTC) - timedelta(seconds=age)
    return [
        Release("istiod", "istio-system", number, status, "istiod", "1", since)
        for number, status in enumerate(states, start=1)
    ]


class FakeHelm:
    """Answers with one state after another, the last one for ever."""

    def __init__(self, *states: Release | None) -> None:
        self._states = list(states)
        self.looks = 0

    def status(self, _release: str, *, namespace: str) -> Release | None:
        assert namespace == "istio-system"
        self.looks += 1
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]


def context(tmp_path: Path, helm: FakeHelm, target: Target = LAB) -> Context:
    evidence = Journal(tmp_path / "evidence.jsonl", run="r")
    found = Context(lab_parameters(), target, cast(Cluster, None), evidence)
    found.__dict__["helm"] = helm  # where its cached property keeps it
    return found


@pytest.mark.parametrize(
    ("states", "as_wanted", "revision"),
    [
        (["pending-install"], True, 1),
        (["pending-install"], False, 1),
        (["superseded", "deployed", "pending-upgrade"], True, 3),
        (["superseded", "deployed", "pending-upgrade"], False, 2),
        (["deployed", "failed", "pending-upgrade"], False, 1),
        (["failed", "pending-upgrade"], False, 2),
        (["pending-install", "pending-rollback"], False, 2),
        (["superseded", "uninstalling"], False, 2),
    ],
)
def test_nothing_is_taken_down_to_recover(
    states: list[str], as_wanted: bool, revision: int
) -> None:
    history = revisions(*states)
    base = recovery.base(history[-1], history, as_wanted=as_wanted)
    assert base.revision == revision


def test_the_explanation_says_since_when_and_what_will_be_done() -> None:
    since = datetime(2026, 11, 24, 14, 2, 31, tzinfo=UTC)
    first, second = (replace(r, since=since) for r in revisions("deployed", "pending-upgrade"))
    completes = recovery.explain(second, second)
    assert "is pending-upgrade since 2026-11-24 14:02 UTC (revision 2)" in completes
    assert "apply revision 2 once more (helm rollback): this completes" in completes
    assert "apply revision 1 once more" in recovery.explain(second, first)
    assert "then upgrade" in recovery.explain(second, first)


def test_a_helm_at_work_is_waited_for(tmp_path: Path) -> None:
    (pending,) = revisions("pending-install", age=1)
    (deployed,) = revisions("deployed", age=1)
    helm = FakeHelm(pending, pending, deployed)
    assert recovery.settled(context(tmp_path, helm), "istiod", "istio-system") == deployed
    assert helm.looks == 3


@pytest.mark.parametrize(("target", "age"), [(LAB, 20), (PRODUCTION, 301)])
def test_what_is_older_than_helms_own_limit_was_interrupted(
    tmp_path: Path, target: Target, age: float
) -> None:
    (pending,) = revisions("pending-install", age=age)
    helm = FakeHelm(pending)
    assert recovery.settled(context(tmp_path, helm, target), "istiod", "istio-system") == pending
    assert helm.looks == 1


def test_in_production_a_helm_that_may_be_at_work_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_PATIENCE", 0.2)
    (pending,) = revisions("pending-upgrade", age=20)
    subject = context(tmp_path, FakeHelm(pending), PRODUCTION)
    with pytest.raises(RunbookError, match="another Helm may still be at work") as caught:
        recovery.settled(subject, "istiod", "istio-system")
    assert "5 minutes" in caught.value.remedy


def test_on_the_lab_the_wait_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_PATIENCE", 0.2)
    (pending,) = revisions("pending-upgrade", age=0)
    subject = context(tmp_path, FakeHelm(pending))
    found = recovery.settled(subject, "istiod", "istio-system")
    assert found == pending


def test_a_release_whose_age_is_unknown_is_not_waited_for(tmp_path: Path) -> None:
    (pending,) = revisions("pending-upgrade", age=0)
    helm = FakeHelm(replace(pending, since=None))
    assert recovery.settled(context(tmp_path, helm), "istiod", "istio-system") is not None
    assert helm.looks == 1


@pytest.mark.parametrize("states", [["deployed"], ["failed"]])
def test_what_is_not_stuck_is_returned_at_once(tmp_path: Path, states: list[str]) -> None:
    (release,) = revisions(*states, age=0)
    helm: Any = FakeHelm(release)
    assert recovery.settled(context(tmp_path, helm), "istiod", "istio-system") == release
    assert helm.looks == 1
