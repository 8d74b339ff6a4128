"""Pods that Kubernetes would not replace, or only after longer than the runbook waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runbook_lib.chapters.shared.preflight import workloads
from tests.unit.chapters.shared.preflight.workloads.given import (
    WEB,
    namespace,
    on,
    pod,
    refusing,
    workload,
)

OLD = {"controller-revision-hash": f"{WEB}-1"}
CLAIM = {"name": "archive", "persistentVolumeClaim": {"claimName": "archive"}}


def test_a_stateful_set_waits_for_ever_for_a_pod_of_an_older_template(tmp_path: Path) -> None:
    stuck = pod(ready=False, labels=OLD)
    (finding,) = refusing(workloads.before_restart(on(tmp_path, *namespace(web_pod=stuck))))
    assert finding.where == f"Pod xnat/{WEB}-0"
    assert f"kubectl --namespace xnat delete pod {WEB}-0" in finding.remedy
    assert finding.evidence[0] == f".metadata.labels.controller-revision-hash: {WEB}-1"


def test_a_pod_that_has_just_begun_is_waited_for(tmp_path: Path) -> None:
    starting = pod(ready=False)
    found = on(tmp_path, *namespace(web_pod=starting))
    notes = [each for each in workloads.before_restart(found) if "not ready yet" in each.what]
    assert [each.refuses for each in notes] == [False]


def test_a_pod_that_is_late_by_its_own_probes_is_refused(tmp_path: Path) -> None:
    late = pod(ready=False)
    late["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    (finding,) = refusing(workloads.before_restart(on(tmp_path, *namespace(web_pod=late))))
    assert "replaces a pod only once all are" in finding.what


def test_pods_that_are_replaced_all_at_once_are_not_waited_for(tmp_path: Path) -> None:
    web = workload()
    web["spec"]["podManagementPolicy"] = "Parallel"
    stuck = pod(ready=False, labels=OLD)
    found = on(tmp_path, *namespace(web=web, web_pod=stuck))
    assert refusing(workloads.before_restart(found)) == []


def deployment(**strategy: Any) -> list[Any]:
    web = workload(kind="Deployment", volumes=[CLAIM])
    web["spec"]["strategy"] = strategy
    owner = {"kind": "ReplicaSet", "name": f"{WEB}-7d9", "controller": True}
    web_pod = pod(labels={"pod-template-hash": "7d9"})
    web_pod["metadata"]["ownerReferences"] = [owner]
    return namespace(web=web, web_pod=web_pod)


def claim(mode: str) -> Any:
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "archive", "namespace": "xnat"},
        "spec": {"accessModes": [mode]},
    }


AS_DEPLOYMENT = {
    "web": {"kind": "Deployment"},
    "restart_order": ["StatefulSet/xnat-postgresql", f"Deployment/{WEB}"],
}


def test_a_deployment_whose_pods_share_a_volume_for_one_node_is_a_risk(tmp_path: Path) -> None:
    def found(mode: str, **strategy: Any) -> list[Any]:
        objects = [*deployment(**strategy), claim(mode)]
        context = on(tmp_path, *objects, application=AS_DEPLOYMENT)
        return refusing(workloads.before_restart(context))

    (finding,) = found("ReadWriteOnce")
    assert finding.parameter == "application.accept: [shared-volume]"
    assert finding.evidence == (
        ".spec.strategy.rollingUpdate.maxSurge: 25%",
        "PersistentVolumeClaim archive .spec.accessModes: ReadWriteOnce",
    )
    assert found("ReadWriteMany") == []
    assert found("ReadWriteOnce", type="Recreate") == []
    assert found("ReadWriteOnce", rollingUpdate={"maxSurge": 0}) == []


def test_a_limit_shorter_than_the_probes_allow_is_refused(tmp_path: Path) -> None:
    web = workload(terminationGracePeriodSeconds=60)
    (container,) = web["spec"]["template"]["spec"]["containers"]
    container["startupProbe"] = {"periodSeconds": 10, "failureThreshold": 90}
    web["spec"]["replicas"] = 2
    objects = namespace(web=web)
    (finding,) = refusing(
        workloads.before_restart(on(tmp_path, *objects, timeouts={"rollout": 600}))
    )
    assert "may take 1920 s to replace its pods, and timeouts.rollout is 600 s" in finding.what
    assert finding.parameter == "timeouts.rollout: 1920"
    assert refusing(workloads.before_restart(on(tmp_path, *objects))) == []


def test_how_long_a_single_pod_is_away_is_said(tmp_path: Path) -> None:
    budget = {
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "xnat"},
        "spec": {"selector": {"matchLabels": {"app": WEB}}},
    }
    found = on(tmp_path, *namespace(budget))
    (said,) = (
        each
        for each in workloads.before_restart(found)
        if each.where.endswith(WEB) and "restarted" in each.what
    )
    assert said.effect.startswith("no answer: the load balancer says 502")
    assert "by its probes" in said.effect
    assert "PodDisruptionBudget web does not hold a restart up" in said.effect
