"""A rollout is complete when every pod is new and ready, as kubectl judges it."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib import rollout


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
