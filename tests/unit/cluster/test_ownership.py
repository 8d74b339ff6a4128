"""Who else wrote fields of an object, and when."""

from __future__ import annotations

from typing import Any

from runbook_lib.cluster import ownership

METRICS = {"f:spec": {"f:metrics": {}}}


def written(manager: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


def test_others_are_named_with_fields_operation_and_time() -> None:
    entries = [
        written("istio-runbook", METRICS),
        written("helm", METRICS, time="2026-11-27T16:06:23Z"),
        written("kube-controller-manager", METRICS, subresource="status"),
        written("kubectl-edit", {"f:spec": {"f:maxReplicas": {}}}),
    ]
    item = {"metadata": {"managedFields": entries}}
    metrics = [str(each) for each in ownership.others(item, "spec.metrics")]
    assert metrics == ["helm set spec.metrics at 2026-11-27T16:06:23Z (Update)"]
    assert str(ownership.others(item)[1]) == "kubectl-edit set spec.maxReplicas (Update)"


def test_a_field_whose_name_begins_alike_is_another() -> None:
    entries = [written("helm", {"f:spec": {"f:metricsServer": {}}})]
    assert ownership.others({"metadata": {"managedFields": entries}}, "spec.metrics") == ()
