"""A pod that no node takes would stay Pending: told before it is made, with the value to set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.chapters.shared.preflight.nodes import on_no_node
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Finding
from tests.unit.doubles.given_cluster import context

TAINT = {"key": "dedicated", "value": "xnat", "effect": "NoSchedule"}
KARPENTER = {
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "nodepools.karpenter.sh"},
}


def node(name: str = "node-1", os: str = "linux", ready: str = "True", **spec: Any) -> Object:
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/os": os}},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def istiod(**spec: Any) -> Object:
    metadata = {"name": "istiod", "namespace": "istio-system"}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"template": {"spec": spec}}}


def found(folder: Path, made: Object, *objects: Object) -> list[Finding]:
    service = {"kind": "Service", "metadata": {"name": "istiod"}}
    looking = context(folder, *objects)
    return list(on_no_node(looking, [service, made], "istio.istiod.values.tolerations"))


def test_nodes_that_are_all_tainted_refuse_with_the_value_that_tolerates(tmp_path: Path) -> None:
    tainted = (node("a", taints=[TAINT]), node("b", taints=[TAINT]))
    (finding,) = found(tmp_path, istiod(), *tainted)
    assert finding.refuses
    assert finding.where == "Deployment istio-system/istiod"
    assert finding.what == "none of the 2 nodes takes its pods"
    assert finding.evidence == (".spec.taints: dedicated=xnat:NoSchedule",)
    assert finding.parameter == (
        "istio.istiod.values.tolerations: [{key: dedicated, operator: Exists}]"
    )


@pytest.mark.parametrize(
    ("spec", "nodes"),
    [
        ({}, (node("a", taints=[TAINT]), node("b"))),
        ({"tolerations": [{"key": "dedicated", "operator": "Exists"}]}, (node(taints=[TAINT]),)),
        ({}, (node(taints=[{**TAINT, "effect": "PreferNoSchedule"}]),)),
    ],
)
def test_one_node_that_takes_the_pods_is_enough(
    tmp_path: Path, spec: dict[str, Any], nodes: tuple[Object, ...]
) -> None:
    assert found(tmp_path, istiod(**spec), *nodes) == []


@pytest.mark.parametrize(
    "others",
    [
        (),
        (node(unschedulable=True),),
        (node(ready="Unknown"),),
        (node(os="windows"),),
    ],
)
def test_nodes_that_take_nothing_at_all_refuse_without_a_value(
    tmp_path: Path, others: tuple[Object, ...]
) -> None:
    (finding,) = found(tmp_path, istiod(), *others)
    assert finding.refuses
    assert finding.parameter == ""


def test_what_adds_nodes_makes_it_a_note(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, istiod(), node(taints=[TAINT]), KARPENTER)
    assert not finding.refuses
    assert "until Karpenter, or EKS Auto Mode, adds a node" in finding.effect
