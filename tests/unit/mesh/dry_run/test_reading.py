"""What is read of the sidecars' logs, and what is said where a part of one is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from runbook_lib.base import ClusterRefused
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.context import Context
from runbook_lib.mesh.dry_run.manifest import LOG, logged
from runbook_lib.mesh.dry_run.model import Decided, Decision
from runbook_lib.mesh.dry_run.reading import _Logs
from tests.unit.doubles.given_cluster import GivenCluster, context, pod
from tests.unit.samples import lab_parameters

PARAMETERS = lab_parameters()
RULE = "ns[xnat]-policy[xnat-all]-rule[0]"
PUT = Decided("PUT", "/data/projects/*", Decision.REFUSED)


def line(method: str, path: str | None, decision: str | None = "denied", **more: Any) -> str:
    """A line as Envoy writes it."""
    found = {"log": LOG, "method": method, "path": path, "decision": decision}
    return json.dumps({**found, "rule": None, "own": None, **more})


WRITTEN = line("PUT", "/data/projects/")


@pytest.mark.parametrize(
    ("written", "verdict"),
    [
        (line("GET", "/", "allowed", rule=RULE), Decision.ALLOWED),
        (line("GET", "/", "allowed", rule="ns[xnat]-policy[other]-rule[0]"), Decision.REFUSED),
        (line("GET", "/", "denied"), Decision.REFUSED),
        (line("GET", "/", None), Decision.NONE),
    ],
)
def test_a_request_is_allowed_only_by_the_policy_that_is_to_be_enforced(
    written: str, verdict: Decision
) -> None:
    found = logged(written, PARAMETERS)
    assert found is not None
    assert found.decided.verdict is verdict


@pytest.mark.parametrize(
    "other",
    [
        '[2026-01-02T03:04:05.678Z] "PUT /data/projects/Secret HTTP/1.1" 200',
        json.dumps({"method": "PUT", "path": "/data/projects/Secret"}),
        f"info envoy {LOG} is mentioned",
        json.dumps([LOG]),
    ],
)
def test_other_lines_of_a_sidecar_are_left_alone(other: str) -> None:
    assert logged(other, PARAMETERS) is None


class Logging(GivenCluster):
    """A cluster whose pods have logs: stamped lines, or an error."""

    def __init__(self, *objects: Object) -> None:
        super().__init__(*objects)
        self.lines: dict[str, list[str] | ClusterRefused] = {}

    def write(self, name: str, *texts: str, second: int) -> None:
        """Append lines to the log of a pod."""
        log = self.lines.setdefault(name, [])
        assert isinstance(log, list)
        for text in texts:
            log.append(f"2026-01-02T03:04:{second:02}.{len(log):09}+02:00 {text}")

    def logs(
        self,
        _namespace: str,
        pod: str,
        _container: str,
        *,
        lines: int | None = None,
        since: str = "",
        timestamps: bool,
    ) -> list[str]:
        assert timestamps
        found = self.lines.get(pod, [])
        if isinstance(found, ClusterRefused):
            raise found
        if since:  # in UTC, and to the second
            assert since.startswith("2026-01-02T01:04:")
            found = [each for each in found if each[17:19] >= since[17:19]]
        return found[-lines:] if lines else list(found)


def web(name: str, uid: str) -> Object:
    return pod(name, uid=uid)


@pytest.fixture
def cluster() -> Logging:
    return Logging(web("web-0", "a"), web("web-1", "b"))


@pytest.fixture
def given(tmp_path: Path, cluster: Logging) -> Context:
    return replace(context(tmp_path), cluster=cast(Cluster, cluster))


def test_every_pod_is_read_from_now_on_and_each_line_once(given: Context, cluster: Logging) -> None:
    cluster.write("web-0", WRITTEN, second=1)
    logs = _Logs(given)
    cluster.write("web-0", WRITTEN, "something else", second=1)
    cluster.write("web-1", WRITTEN, line("GET", "/", "allowed", rule=RULE), second=2)
    logs.read()
    logs.read()
    cluster.write("web-1", WRITTEN, second=2)
    logs.read()
    found = logs.reading(10)
    assert found.counts == {PUT: 3, Decided("GET", "/*", Decision.ALLOWED): 1}
    assert [(each.name, each.requests, each.gap) for each in found.pods] == [
        ("web-0", 1, ""),
        ("web-1", 3, ""),
    ]
    assert (found.complete, found.total, found.refused) == (True, 4, {PUT: 3})


def test_the_runbooks_own_requests_are_not_counted(given: Context, cluster: Logging) -> None:
    logs = _Logs(given)
    cluster.write("web-0", line("DELETE", "/", own="yes"), second=1)
    logs.read()
    found = logs.reading(10)
    assert (found.counts, found.own, found.total, found.complete) == ({}, 1, 0, True)


@pytest.mark.parametrize("left", [[], [f"2026-01-02T03:04:09.0+02:00 {WRITTEN}"]])
def test_a_log_that_begins_anew_is_said_and_not_taken_as_whole(
    given: Context, cluster: Logging, left: list[str]
) -> None:
    cluster.write("web-0", "before", second=1)
    logs = _Logs(given)
    cluster.lines["web-0"] = left
    logs.read()
    found = logs.reading(10)
    assert not found.complete
    assert found.counts == ({PUT: 1} if left else {})
    assert "rotated, or istio-proxy was restarted" in found.pods[0].gap


def test_a_pod_that_ends_is_said_and_one_that_takes_its_name_is_read_as_a_whole(
    given: Context, cluster: Logging
) -> None:
    cluster.write("web-0", WRITTEN, second=1)
    logs = _Logs(given)
    cluster.objects[0] = web("web-0", "c")
    cluster.lines["web-0"] = []
    cluster.write("web-0", WRITTEN, second=3)
    logs.read()
    found = logs.reading(10)
    assert [(each.name, each.requests, bool(each.gap)) for each in found.pods] == [
        ("web-0", 0, True),
        ("web-0", 1, False),
        ("web-1", 0, False),
    ]


def test_a_pod_whose_log_cannot_be_read_is_waited_for_but_not_a_missing_permission(
    given: Context, cluster: Logging
) -> None:
    cluster.lines["web-1"] = ClusterRefused("waiting to start", "", status=400, reason="BadRequest")
    logs = _Logs(given)
    logs.read()
    cluster.lines["web-1"] = []
    cluster.write("web-1", WRITTEN, second=3)
    logs.read()
    assert logs.reading(10).counts == {PUT: 1}
    cluster.lines["web-1"] = ClusterRefused("forbidden", "", status=403, reason="Forbidden")
    with pytest.raises(ClusterRefused, match="forbidden"):
        logs.read()
