"""Whose releases are changed, and to which charts: looked at with a Helm that only answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.journal import Journal
from runbook_lib.chapters.shared import preflight
from runbook_lib.chapters.shared.release.planner import ReleasePlanner, Source
from runbook_lib.cluster.client import Cluster
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.plan import Change
from runbook_lib.parameters.model import ChartParameters
from runbook_lib.tools.releases import Chart, Release
from tests.unit.samples import LAB, lab_parameters

OWN = preflight.INSTALLED_BY
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class FakeHelm:
    """One release whose charts make no objects, and whose values are those of `values`."""

    def __init__(
        self, *history: tuple[str, str], labels: Mapping[str, str], values: dict[str, Any]
    ) -> None:
        self._history = [
            Release("istiod", "istio-system", number, status, "istiod", version, LONG_AGO)
            for number, (status, version) in enumerate(history, start=1)
        ]
        self._labels = labels
        self._values = values

    def status(self, _release: str, **_: Any) -> Release:
        return self._history[-1]

    def history(self, _release: str, **_: Any) -> list[Release]:
        return self._history

    def get_labels(self, _release: str, **_: Any) -> Mapping[str, str]:
        return self._labels

    def applies_server_side(self, _release: str, **_: Any) -> bool:
        return True

    def get_values(self, _release: str, **_: Any) -> dict[str, Any]:
        return self._values

    def get_manifest(self, _release: str, **_: Any) -> list[Any]:
        return []

    def template(self, _release: str, _chart: Chart, **_: Any) -> list[Any]:
        return []

    def show_chart(self, chart: Chart) -> dict[str, Any]:
        return {"name": chart.reference, "version": chart.version}


def changes(
    folder: Path,
    *history: tuple[str, str],
    wanted: str = "1.31.1",
    labels: Mapping[str, str] = OWN,
    values: Mapping[str, Any] | None = None,
    own_values: dict[str, Any] | None = None,
) -> tuple[Change, ...]:
    """What is planned for a release with these revisions, each a status and a chart's version."""
    cluster = SimpleNamespace(server_version=lambda: "v1.36.0")
    evidence = Journal(folder / "evidence.jsonl", run="r")
    context = Context(lab_parameters(), LAB, cast("Cluster", cluster), evidence)
    helm = FakeHelm(*history, labels=labels, values=dict(values or {}))
    context.__dict__["helm"] = helm  # where its cached property keeps it
    chart = ChartParameters(release="istiod", chart="istiod", values={"a": {"b": 1, "c": 2}})
    source = Source("istio-system", "https://x/charts", wanted, timeout=60)
    return ReleasePlanner(chart, source, own_values=own_values).changes(context)


def test_the_values_of_others_that_would_be_gone_are_named(tmp_path: Path) -> None:
    theirs = {"a": {"b": 1, "c": 3}, "meshConfig": {"accessLogFile": "/dev/stdout"}}
    with pytest.raises(RunbookError, match=r"the values of a\.c, meshConfig differ") as refused:
        changes(tmp_path, ("deployed", "1.30.0"), labels={}, values=theirs)
    assert "its chart is istiod 1.30.0, not istiod 1.31.1" in refused.value.cause
    assert "helm get values istiod --namespace istio-system" in refused.value.remedy
    assert refused.value.remedy.endswith(
        "kubectl label secret --namespace istio-system --selector owner=helm,name=istiod "
        "installed-by=istio-runbook"
    )


def test_a_release_of_others_that_is_as_wanted_is_used(tmp_path: Path) -> None:
    same = {"a": {"b": 1, "c": 2}}
    assert changes(tmp_path, ("deployed", "1.31.1"), labels={}, values=same) == ()


def test_some_values_are_for_the_runbooks_own_release_alone(tmp_path: Path) -> None:
    deployed, plain = ("deployed", "1.31.1"), {"a": {"b": 1, "c": 2}}
    added = {"own_values": {"a": {"d": 3}}}
    (change,) = changes(tmp_path, deployed, values=plain, **added)
    assert "+  d: 3" in change.text
    assert changes(tmp_path, deployed, values={"a": {"b": 1, "c": 2, "d": 3}}, **added) == ()
    assert changes(tmp_path, deployed, labels={}, values=plain, **added) == ()


def test_a_release_that_others_installed_from_an_export_is_used(tmp_path: Path) -> None:
    exported = {"a": {"b": 1, "c": 2, "d": 3}}
    own = {"a": {"d": 3}}
    assert (
        changes(tmp_path, ("deployed", "1.31.1"), labels={}, values=exported, own_values=own) == ()
    )


def test_the_runbooks_own_release_is_upgraded(tmp_path: Path) -> None:
    (change,) = changes(tmp_path, ("deployed", "1.30.0"))
    assert change.action == "upgrade"


@pytest.mark.parametrize("status", ["pending-upgrade", "uninstalling"])
def test_what_others_have_begun_is_theirs_to_end(tmp_path: Path, status: str) -> None:
    with pytest.raises(RunbookError, match="its owner may still be at work on it"):
        changes(tmp_path, ("deployed", "1.31.1"), (status, "1.31.1"), labels={})
    (change,) = changes(tmp_path, ("deployed", "1.31.1"), (status, "1.31.1"))
    assert change.action == "recover"


def test_a_recovery_goes_back_to_what_worked_and_no_further(tmp_path: Path) -> None:
    (change,) = changes(tmp_path, ("deployed", "1.31.1"), ("pending-upgrade", "1.32.0"))
    assert change.action == "recover"
    with pytest.raises(RunbookError, match=r"has the chart istiod 1\.32\.0, .* older 1\.31\.1"):
        changes(tmp_path, ("pending-install", "1.32.0"))


def test_an_older_chart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunbookError, match="what a newer version has stored") as refused:
        changes(tmp_path, ("deployed", "1.32.0"))
    assert "the version 1.32.0 or a newer one" in refused.value.remedy


def test_secret_values_are_masked(tmp_path: Path) -> None:
    def planned(key: str) -> Change:
        before = {"a": {"b": 1, "c": 2}, "login_token": {"signing_key": key}}
        (change,) = changes(tmp_path, ("deployed", "1.31.1"), values=before)
        return change

    change = planned("abcdefghijklmnop")
    assert "signing_key: '[redacted]'" in change.text
    assert "abcdefghijklmnop" not in change.text
