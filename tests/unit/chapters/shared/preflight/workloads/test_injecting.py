"""Pods that can get no sidecar, and pods that a sidecar that is not native stands in the way of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.chapters.shared.preflight import workloads
from tests.unit.chapters.shared.preflight.workloads.given import (
    DATABASE,
    WEB,
    namespace,
    node,
    on,
    pod,
    refusing,
    workload,
)

CLASSIC = {"istiod": {"values": {"pilot": {"env": {"ENABLE_NATIVE_SIDECARS": "false"}}}}}
WAITS = {"initContainers": [{"name": "wait-for-database", "image": "i"}]}


def test_nothing_is_in_the_way_of_ordinary_workloads(tmp_path: Path) -> None:
    found = on(tmp_path, *namespace())
    assert refusing(workloads.before_restart(found)) == []
    assert list(workloads.before_strict(found)) == []


@pytest.mark.parametrize(
    ("web", "field"),
    [
        (workload(hostNetwork=True), ".spec.template.spec.hostNetwork: true"),
        (
            workload(labels={"sidecar.istio.io/inject": "false"}),
            '.spec.template.metadata.labels.sidecar.istio.io/inject: "false"',
        ),
    ],
)
def test_a_template_that_never_gets_a_sidecar_is_refused_by_its_field(
    tmp_path: Path, web: Any, field: str
) -> None:
    found = on(tmp_path, *namespace(web=web))
    (finding,) = refusing(workloads.before_restart(found))
    assert finding.where == f"StatefulSet xnat/{WEB}"
    assert finding.evidence == (field,)


def test_pods_on_fargate_are_refused(tmp_path: Path) -> None:
    web_pod = pod(labels={"eks.amazonaws.com/fargate-profile": "research"})
    (finding,) = refusing(workloads.before_restart(on(tmp_path, *namespace(web_pod=web_pod))))
    assert "Fargate" in finding.what
    assert finding.evidence == (".metadata.labels.eks.amazonaws.com/fargate-profile: research",)


@pytest.mark.parametrize(
    ("template", "field"),
    [
        (
            {"nodeSelector": {"kubernetes.io/os": "windows"}},
            ".spec.template.spec.nodeSelector[kubernetes.io/os]: windows",
        ),
        ({"os": {"name": "windows"}}, ".spec.template.spec.os.name: windows"),
    ],
)
def test_pods_that_are_to_run_on_windows_are_refused(
    tmp_path: Path, template: Any, field: str
) -> None:
    found = on(tmp_path, *namespace(web=workload(**template)))
    (finding,) = refusing(workloads.before_restart(found))
    assert "Windows" in finding.what
    assert finding.evidence == (field,)


def test_pods_on_a_node_of_windows_are_refused(tmp_path: Path) -> None:
    windows = node()
    windows["metadata"] = {
        "name": "win-1",
        "namespace": "",
        "labels": {"kubernetes.io/os": "windows"},
    }
    found = on(tmp_path, *namespace(windows, web_pod=pod(node="win-1")))
    (finding,) = refusing(workloads.before_restart(found))
    assert finding.evidence == (f"pod {WEB}-0 .spec.nodeName: win-1, of Windows",)


@pytest.mark.parametrize(
    ("marks", "spec", "field"),
    [
        (
            {"eks.amazonaws.com/fargate-profile": "research"},
            {},
            ".metadata.labels.eks.amazonaws.com/fargate-profile: research",
        ),
        (
            {},
            {"nodeSelector": {"kubernetes.io/os": "windows"}},
            "pod reports-0 .spec.nodeSelector[kubernetes.io/os]: windows",
        ),
    ],
)
def test_the_label_is_refused_for_pods_of_others_that_would_not_start_with_a_sidecar(
    tmp_path: Path, marks: dict[str, str], spec: Any, field: str
) -> None:
    other = pod(name="reports", labels=marks)
    other["spec"] |= spec
    found = on(tmp_path, *namespace(other))
    (finding,) = refusing(workloads.before_label(found))
    assert finding.where == "StatefulSet xnat/reports"
    assert finding.effect.startswith("no new pod would start")
    assert finding.evidence == (field,)
    other["metadata"]["labels"]["sidecar.istio.io/inject"] = "false"
    assert refusing(workloads.before_label(on(tmp_path, *namespace(other)))) == []


def test_a_selector_of_expressions_alone_selects_the_workloads_own_pods(tmp_path: Path) -> None:
    web = workload(hostNetwork=True)
    expression = {"key": "app", "operator": "In", "values": [WEB]}
    web["spec"]["selector"] = {"matchExpressions": [expression]}
    (finding,) = refusing(workloads.before_restart(on(tmp_path, *namespace(web=web))))
    assert "host's network" in finding.what


@pytest.mark.parametrize(
    ("kubelet", "istio"),
    [("v1.34.1", CLASSIC), ("v1.32.9-eks-1", {})],
)
def test_init_containers_before_a_classic_sidecar_are_a_risk(
    tmp_path: Path, kubelet: str, istio: Any
) -> None:
    objects = namespace(web=workload(**WAITS))
    objects[0] = node(kubelet)
    (finding,) = workloads.before_strict(on(tmp_path, *objects, istio=istio))
    assert finding.refuses
    assert "wait-for-database" in finding.what
    assert finding.parameter == "application.accept: [init-containers]"
    accepting = {"accept": ["init-containers"]}
    (note,) = workloads.before_strict(on(tmp_path, *objects, istio=istio, application=accepting))
    assert not note.refuses


def test_init_containers_after_a_native_sidecar_are_none(tmp_path: Path) -> None:
    annotated = workload(**WAITS)
    annotated["spec"]["template"]["metadata"]["annotations"] = {
        "sidecar.istio.io/nativeSidecar": "true"
    }
    for web, istio in ((workload(**WAITS), {}), (annotated, CLASSIC)):
        found = on(tmp_path, *namespace(web=web), istio=istio)
        assert list(workloads.before_strict(found)) == []


def test_init_containers_of_what_depends_on_no_other_are_none(tmp_path: Path) -> None:
    objects = namespace()
    objects[1] = workload(DATABASE, **WAITS)
    assert list(workloads.before_strict(on(tmp_path, *objects, istio=CLASSIC))) == []


def cron(**labels: str) -> Any:
    template = {"metadata": {"labels": labels}, "spec": {"containers": []}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "backup", "namespace": "xnat"},
        "spec": {"jobTemplate": {"spec": {"template": template}}},
    }


def test_jobs_that_would_never_complete_are_a_risk(tmp_path: Path) -> None:
    found = on(tmp_path, *namespace(cron()), istio=CLASSIC)
    (finding,) = refusing(workloads.before_restart(found))
    assert finding.where == "CronJob xnat/backup"
    assert finding.parameter == "application.accept: [jobs]"
    assert refusing(workloads.before_restart(on(tmp_path, *namespace(cron())))) == []


def test_a_cron_job_that_stays_outside_is_named_as_a_caller_in_plaintext(tmp_path: Path) -> None:
    outside = cron(**{"sidecar.istio.io/inject": "false"})
    found = on(tmp_path, *namespace(outside), istio=CLASSIC)
    assert refusing(workloads.before_restart(found)) == []
    assert workloads.without_sidecars(found) == ["CronJob xnat/backup"]
