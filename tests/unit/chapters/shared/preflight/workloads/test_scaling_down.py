from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.chapters.shared.preflight.workloads import scaling_down
from runbook_lib.chapters.shared.preflight.workloads.listed import listed
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.finding import Finding
from tests.unit.chapters.shared.preflight.workloads.given import namespace, on

VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"


def autoscaler(*words: str) -> Object:
    image = "registry.k8s.io/autoscaling/cluster-autoscaler:v1.33.0"
    container = {"name": "a", "image": image, "command": ["./cluster-autoscaler", *words]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cluster-autoscaler", "namespace": "kube-system"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }


def found(tmp_path: Path, *objects: Object, **given: Any) -> tuple[Finding, ...]:
    context = on(tmp_path, *namespace(*objects), **given)
    return scaling_down.held(context, [*listed(context)])


def test_a_cluster_autoscaler_that_keeps_nodes_is_mentioned_with_the_way_out(
    tmp_path: Path,
) -> None:
    (only,) = found(tmp_path, autoscaler("--v=4"))
    assert not only.refuses
    assert only.where == "Deployment kube-system/cluster-autoscaler"
    assert "StatefulSet xnat/xnat-xnat-web" in only.effect
    assert f"injectedAnnotations: {{{VOLUMES}: " in only.parameter


@pytest.mark.parametrize("objects", [[], [autoscaler("--skip-nodes-with-local-storage=false")]])
def test_without_one_or_with_one_that_minds_no_volumes_there_is_nothing(
    tmp_path: Path, objects: list[Object]
) -> None:
    assert found(tmp_path, *objects) == ()


def test_sidecars_that_say_so_hold_no_node(tmp_path: Path) -> None:
    marks = {"sidecarInjectorWebhook": {"injectedAnnotations": {VOLUMES: "istio-data"}}}
    istio = {"istiod": {"values": marks}}
    assert found(tmp_path, autoscaler(), istio=istio) == ()
