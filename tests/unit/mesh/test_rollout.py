"""A rollout is complete when every pod is new and ready, as kubectl judges it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.cluster.names import RESTARTED_AT
from runbook_lib.mesh import rollout
from tests.unit.doubles import given_cluster


def workload(kind: str = "StatefulSet", **given: Any) -> dict[str, Any]:
    status = {
        "observedGeneration": 2,
        "replicas": 2,
        "updatedReplicas": 2,
        "availableReplicas": 2,
    }
    return {
        "kind": kind,
        "metadata": {"name": "web", "namespace": "xnat", "generation": 2},
        "spec": {"replicas": 2},
        "status": {**status, **given},
    }


def test_all_updated_and_available_is_complete() -> None:
    assert rollout.progress(workload()) == (True, "2 of 2 updated, 2 ready")


@pytest.mark.parametrize(
    "behind",
    [
        {"observedGeneration": 1},
        {"updatedReplicas": 1},
        {"availableReplicas": 1},
        # A Deployment's old pods are still there.
        {"replicas": 3},
    ],
)
def test_anything_behind_is_not_complete(behind: dict[str, int]) -> None:
    assert rollout.progress(workload(**behind))[0] is False


def test_a_workload_without_a_status_has_not_begun() -> None:
    new = workload()
    del new["status"]
    assert rollout.progress(new) == (False, "0 of 2 updated, 0 ready")


def test_replicas_default_to_one() -> None:
    single = workload(replicas=1, updatedReplicas=1, availableReplicas=1)
    del single["spec"]["replicas"]
    assert rollout.progress(single)[0] is True


def test_a_daemon_set_counts_nodes() -> None:
    status = {
        "observedGeneration": 2,
        "desiredNumberScheduled": 3,
        "currentNumberScheduled": 3,
        "updatedNumberScheduled": 2,
        "numberAvailable": 3,
    }
    daemons = {**workload("DaemonSet"), "status": status}
    assert rollout.progress(daemons) == (False, "2 of 3 updated, 3 ready")
    status["updatedNumberScheduled"] = 3
    assert rollout.progress(daemons)[0] is True


@pytest.mark.parametrize(
    ("phase", "ended"), [("Succeeded", True), ("Failed", True), ("Running", False)]
)
def test_pods_that_have_ended_are_told_from_those_that_run(phase: str, ended: bool) -> None:
    assert rollout.has_ended({"status": {"phase": phase}}) is ended


def restarted(at: str, **status: Any) -> dict[str, Any]:
    found = workload(**status)
    found["spec"]["template"] = {"metadata": {"annotations": {RESTARTED_AT: at}}}
    return found


def pod(restarted_at: str, **annotations: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {RESTARTED_AT: restarted_at, **annotations}}}


OLD, NEW = pod("monday"), pod("tuesday")


def test_a_rollout_under_way_replaces_pods_older_than_the_template() -> None:
    half = restarted("tuesday", updatedReplicas=1, availableReplicas=1)
    assert rollout.replaces(half, [OLD])
    assert rollout.replaces(half, [])
    assert not rollout.replaces(half, [OLD, NEW])


def test_a_change_that_was_not_taken_up_yet_is_under_way() -> None:
    assert rollout.replaces(restarted("tuesday", observedGeneration=1), [OLD])


@pytest.mark.parametrize("found", [[], [OLD], [NEW]])
def test_a_rollout_that_has_ended_replaces_nothing(found: list[dict[str, Any]]) -> None:
    """Not even what looks older: somebody else may rewrite annotations, too."""
    assert not rollout.replaces(restarted("tuesday"), found)
    # A new pod that is not ready is no reason to wait for others to be replaced.
    assert not rollout.replaces(restarted("tuesday", availableReplicas=1), found)


def test_a_pod_is_of_the_newest_template_although_the_injector_rewrote_its_annotations() -> None:
    scraped = restarted("tuesday")
    annotations = scraped["spec"]["template"]["metadata"]["annotations"]
    annotations.update({"prometheus.io/port": "8080", "team": "imaging"})
    rewritten = {"prometheus.io/port": "15020"}
    assert rollout.is_newest(pod("tuesday", **rewritten, team="imaging"), scraped)
    assert not rollout.is_newest(pod("tuesday", **rewritten, team="other"), scraped)
    assert not rollout.is_newest(pod("monday", **rewritten, team="imaging"), scraped)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"updateStrategy": {"type": "OnDelete"}}, "replaces pods only when they are deleted"),
        (
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            "keeps its first 2 pods as they are",
        ),
        ({"paused": True}, "is paused"),
    ],
)
def test_a_workload_that_would_not_replace_all_its_pods_is_named(
    spec: dict[str, Any], problem: str
) -> None:
    held = workload()
    held["spec"].update(spec)
    (found,) = rollout.held(held)
    assert (found.where, found.what) == ("StatefulSet xnat/web", problem)
    assert found.refuses


@pytest.mark.parametrize(
    "spec",
    [{}, {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}],
)
def test_a_workload_that_replaces_its_pods_is_accepted(spec: dict[str, Any]) -> None:
    free = workload()
    free["spec"].update(spec)
    assert list(rollout.held(free)) == []


def test_why_a_deployment_that_selects_by_expressions_has_no_pods_is_said(tmp_path: Path) -> None:
    deployment = workload("Deployment")
    deployment["metadata"] |= {"name": "front", "namespace": "shop", "uid": "uid-1"}
    deployment["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    sets = [
        {
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": "shop",
                "ownerReferences": [{"kind": "Deployment", "uid": owner}],
            },
        }
        for name, owner in (("front-1", "uid-1"), ("other-1", "uid-2"))
    ]
    looking = given_cluster.context(tmp_path, deployment, *sets)
    assert rollout._replica_sets(looking, deployment) == ["front-1"]
