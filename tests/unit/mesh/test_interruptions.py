"""What is announced to users before pods are replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Client, Interruption, Loss
from runbook_lib.mesh import of_replacement
from tests.unit.doubles.given_cluster import context, kept_by

DEVICES = {"plaintext_ports": [8104]}


def workload(name: str, replicas: int = 1, kind: str = "StatefulSet", **spec: Any) -> Object:
    probe = {"periodSeconds": 10, "failureThreshold": 30}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "xnat", "uid": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 20,
                    "containers": [{"name": "main", "image": "i", "startupProbe": probe}],
                },
            },
            **spec,
        },
    }


def pod(owner: Object, *, restarts: int = 0) -> Object:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T10:01:05Z"}
    name = owner["metadata"]["name"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-0",
            "namespace": "xnat",
            "labels": owner["spec"]["template"]["metadata"]["labels"],
            "creationTimestamp": "2026-01-01T10:00:00Z",
            **kept_by(name),
        },
        "spec": owner["spec"]["template"]["spec"],
        "status": {
            "phase": "Running",
            "conditions": [condition],
            "containerStatuses": [{"name": "main", "ready": True, "restartCount": restarts}],
        },
    }


def announced(
    tmp_path: Path, item: Object, *pods: Object, **application: Any
) -> list[Interruption]:
    found = context(tmp_path, item, *pods, application=application)
    return [*of_replacement(found, item)]


def test_the_only_web_pod_is_away_for_as_long_as_its_last_start_took(tmp_path: Path) -> None:
    web = workload("xnat-xnat-web")
    away, *_ = announced(tmp_path, web, pod(web), **DEVICES)
    assert (away.loss, away.seconds) == (Loss.EVERYTHING, 65 + 20)
    assert away.clients == tuple(Client)


def test_where_no_start_can_be_told_its_probes_count(tmp_path: Path) -> None:
    web = workload("xnat-xnat-web")
    away, *_ = announced(tmp_path, web, pod(web, restarts=1))
    assert away.seconds == 300 + 20
    assert Client.DEVICE not in away.clients


def test_with_several_pods_only_what_was_begun_and_single_requests_are_lost(
    tmp_path: Path,
) -> None:
    found = announced(tmp_path, workload("xnat-xnat-web", replicas=2))
    assert [each.loss for each in found] == [
        Loss.SINGLE_REQUESTS,
        Loss.UNFINISHED,
        Loss.UNFINISHED,
    ]
    assert found[0].seconds == 15
    assert str(found[1]).endswith("has to log in again, once (sessions are kept in the pod)")


def test_a_deployment_starts_its_new_pod_first_unless_it_recreates(tmp_path: Path) -> None:
    web = {"web": {"kind": "Deployment", "name": "portal", "service": "portal"}}
    given = {**web, "restart_order": ["Deployment/portal"]}
    rolling = workload("portal", kind="Deployment")
    assert announced(tmp_path, rolling, **given)[0].loss is Loss.SINGLE_REQUESTS
    recreates: Object = {"type": "Recreate"}
    for strategy in (recreates, {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}):
        ended = workload("portal", kind="Deployment", strategy=strategy)
        assert announced(tmp_path, ended, **given)[0].loss is Loss.EVERYTHING


def test_while_the_database_is_replaced_what_needs_it_fails(tmp_path: Path) -> None:
    database = workload("xnat-postgresql")
    (found,) = announced(tmp_path, database, pod(database), **DEVICES)
    assert (found.loss, found.seconds) == (Loss.DEPENDENT, 85)
    assert Client.DEVICE not in found.clients
    assert announced(tmp_path, workload("xnat-postgresql", replicas=3)) == []
