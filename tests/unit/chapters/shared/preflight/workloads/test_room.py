"""Sidecars need room: of the namespace's quota, and on a node that the pod may run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.chapters.shared.preflight import workloads
from tests.unit.chapters.shared.preflight.workloads.given import (
    WEB,
    namespace,
    node,
    on,
    pod,
    refusing,
)

FULL = {"allocatable": {"cpu": "2", "memory": "8Gi"}}


def quota(used: str, hard: str = "3") -> Any:
    return {
        "kind": "ResourceQuota",
        "metadata": {"name": "team", "namespace": "xnat"},
        "spec": {"hard": {"requests.cpu": hard}},
        "status": {"hard": {"requests.cpu": hard}, "used": {"requests.cpu": used}},
    }


def test_a_quota_without_room_for_the_sidecars_is_refused_with_its_numbers(tmp_path: Path) -> None:
    assert refusing(workloads.before_restart(on(tmp_path, *namespace(quota("2800m"))))) == []
    (finding,) = refusing(workloads.before_restart(on(tmp_path, *namespace(quota("2900m")))))
    assert finding.where == "ResourceQuota xnat/team"
    assert "the sidecars of 2 pods need 200m more" in finding.what


def test_a_pod_that_fits_on_no_node_with_its_sidecar_is_a_risk(tmp_path: Path) -> None:
    objects = namespace()
    objects[0] = node(**FULL)
    database, web = refusing(workloads.before_restart(on(tmp_path, *objects)))
    assert "xnat-postgresql-0 needs 1100m, 128Mi" in database.what
    assert web.parameter == "application.accept: [no-room]"
    assert web.evidence == ("Node node has left: 1000m, 8192Mi",)
    assert "nothing that adds nodes was found" in web.effect


def test_who_adds_nodes_is_named(tmp_path: Path) -> None:
    objects = namespace()
    objects[0] = node(**FULL)
    metadata = {"name": "cluster-autoscaler", "namespace": "kube-system"}
    scaler = {"kind": "Deployment", "metadata": metadata, "spec": {}}
    finding, _ = refusing(workloads.before_restart(on(tmp_path, *objects, scaler)))
    assert "Deployment kube-system/cluster-autoscaler would have to add one" in finding.effect


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({}, True),
        ({"nodeSelector": {"zone": "b"}}, False),
        ({"tolerations": [{"operator": "Exists"}]}, True),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": "zone", "operator": "In", "values": ["b", "c"]}
                                    ]
                                }
                            ]
                        }
                    }
                }
            },
            False,
        ),
    ],
)
def test_only_nodes_that_the_pod_may_run_on_count(tmp_path: Path, spec: Any, fits: bool) -> None:
    found = on(tmp_path, *namespace(web_pod=pod(**spec)))
    assert (refusing(workloads.before_restart(found)) == []) is fits


def test_a_volume_binds_its_pod_to_a_zone(tmp_path: Path) -> None:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    claim = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "xnat"},
        "spec": {"volumeName": "vol-1", "accessModes": ["ReadWriteOnce"]},
    }

    def volume(zone: str) -> Any:
        term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
        affinity = {"required": {"nodeSelectorTerms": [term]}}
        return {
            "kind": "PersistentVolume",
            "metadata": {"name": "vol-1", "namespace": ""},
            "spec": {"nodeAffinity": affinity},
        }

    for zone, count in (("a", 0), ("b", 1)):
        objects = namespace(claim, volume(zone), web_pod=pod(volumes=volumes))
        found = refusing(workloads.before_restart(on(tmp_path, *objects)))
        assert [each.where for each in found] == [f"StatefulSet xnat/{WEB}"] * count


def test_taints_keep_pods_away_that_do_not_tolerate_them(tmp_path: Path) -> None:
    objects = namespace()
    objects[0]["spec"]["taints"] = [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]
    assert len(refusing(workloads.before_restart(on(tmp_path, *objects)))) == 2
