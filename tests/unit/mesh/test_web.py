"""The labels for policies are looked up, and refused unless they select exactly the web pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.finding import Refused
from runbook_lib.mesh import web
from tests.unit.doubles.given_cluster import WEB, context, kept_by, pod, web_workload

CHART = {"app.kubernetes.io/name": "xnat-web", "app.kubernetes.io/instance": "xnat"}
INSTANCE = {"app.kubernetes.io/instance": "xnat"}


def labelled(**labels: str) -> dict[str, Any]:
    return {"application": {"web": {"labels": labels}}}


def mistakes(folder: Path, *objects: Object, **given: Any) -> list[Any]:
    found = context(folder, *objects, **given)
    return list(web.selection_mistakes(found))


def of_database(**labels: str) -> Object:
    return pod("xnat-postgresql-0", labels=labels)


def test_without_a_parameter_the_workloads_own_selector_is_looked_up(tmp_path: Path) -> None:
    found = context(tmp_path, web_workload(CHART, version="1.9"))
    assert web.labels(found.cluster, found.parameters) == CHART


def test_labels_that_are_given_are_used(tmp_path: Path) -> None:
    found = context(tmp_path, web_workload(CHART, **WEB), **labelled(**WEB))
    assert web.labels(found.cluster, found.parameters) == WEB
    assert mistakes(tmp_path, web_workload(CHART, **WEB), **labelled(**WEB)) == []


def test_without_a_workload_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    found = context(tmp_path)
    with pytest.raises(Refused, match="StatefulSet xnat/xnat-xnat-web: there is none"):
        web.labels(found.cluster, found.parameters)


def test_labels_of_no_web_pod_are_a_mistake_of_the_parameter(tmp_path: Path) -> None:
    """The label of the written guide is not on the pods of the current chart."""
    wrong = labelled(app="xnat-xnat-web")
    (found,) = mistakes(tmp_path, web_workload(), pod(), **wrong)
    assert found.where == "StatefulSet xnat/xnat-xnat-web"
    assert found.what == (
        "its pods do not carry app=xnat-xnat-web, which application.web.labels names"
    )
    assert found.parameter == "application.web.labels: {'app': 'xnat-web'}"
    assert found.refuses


def test_labels_that_the_database_carries_too_are_a_mistake(tmp_path: Path) -> None:
    objects = (
        web_workload(CHART),
        pod(labels={**CHART}, **kept_by("xnat-xnat-web")),
        of_database(**INSTANCE),
    )
    (found,) = mistakes(tmp_path, *objects, **labelled(**{"app.kubernetes.io/instance": "xnat"}))
    assert found.where == "StatefulSet xnat/xnat-postgresql"
    assert "selects these pods, too" in found.what
    assert found.refuses
    assert mistakes(tmp_path, *objects) == []


def test_a_workload_without_pods_counts_as_well(tmp_path: Path) -> None:
    second = web_workload(WEB, role="upload")
    second["metadata"]["name"] = "xnat-xnat-web-upload"
    (found,) = mistakes(tmp_path, web_workload(), second)
    assert found.where == "StatefulSet xnat/xnat-xnat-web-upload"


def test_a_pod_that_has_ended_does_not_count(tmp_path: Path) -> None:
    ended = of_database(**WEB)
    ended["metadata"] |= kept_by("xnat-backup")
    ended["status"]["phase"] = "Succeeded"
    assert mistakes(tmp_path, web_workload(), pod(), ended) == []


def test_a_pod_that_is_older_than_its_template_is_named(tmp_path: Path) -> None:
    old = pod(labels={"app": "old"}, **kept_by("xnat-xnat-web"))
    (found,) = mistakes(tmp_path, web_workload(), old)
    assert found.where == "Pod xnat/xnat-xnat-web-0"
    assert found.remedy.endswith("delete Pod xnat/xnat-xnat-web-0")


def test_a_selector_of_expressions_alone_needs_the_parameter(tmp_path: Path) -> None:
    bare = web_workload({})
    (found,) = mistakes(tmp_path, bare, pod())
    assert found.parameter == "application.web.labels"
