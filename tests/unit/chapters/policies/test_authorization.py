"""What the plan of an AuthorizationPolicy refuses at once, because it could never work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.chapters.policies import authorization
from tests.unit.doubles.given_cluster import context, pod, web_workload


def service(name: str, protocol: str, created: str) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8080, "name": protocol}]
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "xnat", "creationTimestamp": created},
        "spec": {"selector": {"app": "xnat-web"}, "ports": ports},
    }


OWN = service("xnat-xnat-web", "http", "2026-01-02T00:00:00Z")
OLDER = service("older", "tcp-web", "2026-01-01T00:00:00Z")
EXCLUDED = {"traffic.sidecar.istio.io/excludeInboundPorts": "8080"}


@pytest.mark.parametrize("story", ["safe", "documented"])
@pytest.mark.parametrize(
    ("objects", "said"),
    [
        (
            (OWN, OLDER, pod()),
            r"Service xnat/older .spec.ports\[0\].name: tcp-web \(the oldest Service",
        ),
        (
            (OWN, pod(annotations=EXCLUDED)),
            r"past the sidecars \(Pod xnat/xnat-xnat-web-0 .*excludeInboundPorts: 8080",
        ),
    ],
)
def test_a_policy_about_methods_that_could_never_work_is_refused_in_the_plan(
    tmp_path: Path, story: str, objects: tuple[dict[str, Any], ...], said: str
) -> None:
    given = context(tmp_path, *objects, web_workload(), story=story)
    _, first, _read, last, _asked = authorization.steps(given.parameters)
    for step in (first, last):
        with pytest.raises(RunbookError, match=said):
            step.plan(given)
        (finding,) = step.obstacles(given)
        assert re.search(said, f"{finding.what} ({finding.evidence[0]})")


def test_a_service_that_is_missing_is_an_obstacle_before_any_step(tmp_path: Path) -> None:
    given = context(tmp_path, pod(), web_workload())
    rule, *_ = authorization.steps(given.parameters)
    (finding,) = rule.obstacles(given)
    assert (finding.where, finding.what) == ("Service xnat/xnat-xnat-web", "there is none")
    assert finding.remedy == "correct application.web.service"


@pytest.mark.parametrize(
    ("service", "annotations", "said"),
    [
        (OLDER, {}, r"Service xnat/older .spec.ports\[0\].name: tcp-web"),
        (
            OWN,
            EXCLUDED,
            r"StatefulSet xnat/xnat-xnat-web .spec.template.metadata.annotations.*: 8080 \(",
        ),
    ],
)
@pytest.mark.parametrize("pods", [[], [pod(sidecar=False)]])
def test_what_pods_with_sidecars_will_be_counts_before_there_are_any(
    tmp_path: Path,
    service: dict[str, Any],
    annotations: dict[str, str],
    said: str,
    pods: list[dict[str, Any]],
) -> None:
    web = web_workload()
    web["spec"]["template"]["metadata"]["annotations"] = annotations
    given = context(tmp_path, service, web, *pods)
    _, first, *_ = authorization.steps(given.parameters)
    (finding,) = first.obstacles(given)
    assert re.match(said, finding.evidence[0])
