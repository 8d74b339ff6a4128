"""Autoscalers that others keep as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.chapters.autoscaling import owners
from runbook_lib.chapters.autoscaling.scale_out import Remedy
from runbook_lib.chapters.autoscaling.steps import steps
from runbook_lib.cluster.objects import Object
from runbook_lib.lab import standins
from runbook_lib.lifecycle.finding import Finding, Refused
from tests.unit.doubles.given_cluster import context, web_workload

APPLICATION = Path(standins.__file__).parent / "application.yaml"


def workload() -> Object:
    web = web_workload()
    requests = {"requests": {"cpu": "500m"}}
    web["spec"]["template"]["spec"]["containers"] = [{"name": "web", "resources": requests}]
    return web


def autoscaler(**metadata: Any) -> Object:
    target = {"type": "Utilization", "averageUtilization": 70}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "xnat", **metadata},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "name": "xnat-xnat-web",
            },
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def controlled(kind: str, name: str) -> list[Object]:
    return [{"kind": kind, "name": name, "controller": True}]


def vertical(mode: str = "Recreate", **spec: Any) -> Object:
    return {
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "xnat"},
        "spec": {
            "targetRef": {"kind": "StatefulSet", "name": "xnat-xnat-web"},
            "updatePolicy": {"updateMode": mode},
            **spec,
        },
    }


def found(
    folder: Path,
    *objects: Object,
    remedy: Remedy = Remedy.CONTAINER_RESOURCE,
    accept: tuple[str, ...] = (),
) -> list[Finding]:
    given = context(folder, workload(), *objects, application={"accept": list(accept)})
    return list(owners.obstacles(given, remedy))


@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": controlled("ScaledObject", "web")},
        {"labels": {"scaledobject.keda.sh/name": "web"}},
    ],
)
def test_an_autoscaler_of_keda_is_refused_with_the_triggers_that_it_should_have(
    tmp_path: Path, metadata: Object
) -> None:
    (refusal,) = found(tmp_path, autoscaler(**metadata))
    assert refusal.refuses
    assert refusal.name == "set-back"
    assert refusal.what == "KEDA made it of ScaledObject xnat/web"
    trigger = (
        "spec.triggers to have [{type: cpu, metricType: Utilization, "
        "metadata: {containerName: web, value: '70'}}]"
    )
    assert trigger in refusal.remedy
    assert "kubectl --namespace xnat edit scaledobject web" in refusal.remedy
    assert refusal.parameter == "application.accept: [set-back]"
    (key,) = metadata
    assert refusal.evidence[0].startswith(f".metadata.{key}")


def test_triggers_have_the_amount_of_the_remedy_of_the_parameters(tmp_path: Path) -> None:
    keda = autoscaler(ownerReferences=controlled("ScaledObject", "web"))
    (refusal,) = found(tmp_path, keda, remedy=Remedy.AVERAGE_VALUE)
    assert "metricType: AverageValue, metadata: {value: 350m}" in refusal.remedy


def test_smaller_requests_of_the_sidecar_leave_kedas_autoscaler_alone(tmp_path: Path) -> None:
    keda = autoscaler(ownerReferences=controlled("ScaledObject", "web"))
    assert found(tmp_path, keda, remedy=Remedy.SIDECAR_REQUESTS) == []


def test_an_autoscaler_of_any_controller_is_refused_unless_it_is_accepted(tmp_path: Path) -> None:
    made = autoscaler(ownerReferences=controlled("WebApp", "site"))
    (refusal,) = found(tmp_path, made)
    assert refusal.refuses
    assert refusal.evidence == (".metadata.ownerReferences: WebApp site",)
    (note,) = found(tmp_path, made, accept=("set-back",))
    assert not note.refuses


def test_an_autoscaler_whose_metrics_git_states_is_refused(tmp_path: Path) -> None:
    managed = [{"manager": "argocd-controller", "fieldsV1": {"f:spec": {"f:metrics": {}}}}]
    mark = {"argocd.argoproj.io/instance": "site"}
    (refusal,) = found(tmp_path, autoscaler(labels=mark, managedFields=managed))
    assert refusal.refuses
    assert "commit the change to Git: spec.metrics: [{type: ContainerResource" in refusal.remedy


def test_one_that_no_sidecar_makes_late_is_left_to_whoever_made_it(tmp_path: Path) -> None:
    keda = autoscaler(ownerReferences=controlled("ScaledObject", "web"))
    target = {"type": "AverageValue", "averageValue": "350m"}
    body = {"name": "cpu", "container": "web", "target": target}
    keda["spec"]["metrics"] = [{"type": "ContainerResource", "containerResource": body}]
    assert found(tmp_path, keda) == []


def test_a_vertical_autoscaler_may_undo_smaller_requests_of_the_sidecar(tmp_path: Path) -> None:
    (refusal,) = found(tmp_path, autoscaler(), vertical(), remedy=Remedy.SIDECAR_REQUESTS)
    assert refusal.refuses
    assert refusal.evidence == (
        "VerticalPodAutoscaler xnat/web .spec.updatePolicy.updateMode: Recreate",
    )
    off = {"containerPolicies": [{"containerName": "istio-proxy", "mode": "Off"}]}
    (note,) = found(
        tmp_path, autoscaler(), vertical(resourcePolicy=off), remedy=Remedy.SIDECAR_REQUESTS
    )
    assert not note.refuses


def test_a_vertical_autoscaler_is_a_note_beside_other_remedies_and_nothing_if_it_only_recommends(
    tmp_path: Path,
) -> None:
    (note,) = found(tmp_path, autoscaler(), vertical("Auto"))
    assert not note.refuses
    assert found(tmp_path, autoscaler(), vertical("Off")) == []


def test_the_step_refuses_what_it_finds_ahead(tmp_path: Path) -> None:
    keda = autoscaler(ownerReferences=controlled("ScaledObject", "web"))
    given = context(tmp_path, workload(), keda)
    (step,) = steps(given.parameters)
    with pytest.raises(Refused, match="KEDA made it"):
        step.plan(given)


def test_nothing_is_said_of_the_labs_own_application(tmp_path: Path) -> None:
    items = list(yaml.safe_load_all(APPLICATION.read_text(encoding="utf-8")))
    for remedy in Remedy:
        assert list(owners.obstacles(context(tmp_path, *items), remedy)) == []
