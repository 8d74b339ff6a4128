"""What would refuse a later step ends a run before the first one changes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base import ExitCode
from runbook_lib.base.wait import until
from tests import snapshot
from tests.harms import (
    CRON_JOB,
    EXPORTER,
    HOST_PORT,
    INNER_DOOR,
    OUTSIDE,
    PROBED,
    SECURED,
    SIDE_DOOR,
    UPLOAD,
    add,
    patch,
    web_pod_is_late,
)
from tests.labs import Lab
from tests.notebooks.headless import run

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(600)]

HARMS = [UPLOAD, CRON_JOB, SIDE_DOOR, *INNER_DOOR, EXPORTER]

PARAMETERS: dict[str, Any] = {
    "target": {"kind": "lab"},
    # The web workload's init containers, and Jobs, would meet classic sidecars.
    "istio": {"istiod": {"values": {"pilot": {"env": {"ENABLE_NATIVE_SIDECARS": "false"}}}}},
    "timeouts": {"rollout": 300},
}

TOLD = [
    "xnat-xnat-web-upload: its pods have no istio-proxy (xnat-xnat-web-upload-0)",
    "belongs to no workload in application.restart_order",
    "selects these pods, too",
    "CronJob xnat/pipeline: its pods would get sidecars that do not end by themselves",
    "Service xnat/side-door (NodePort) leads to port 9091",
    "9092",
    "hostPort",
    "9187",
    "its pods are marked to get no sidecar",
    "its init containers (config, home) run before the sidecar",
    "Pod Security would refuse the pods of StatefulSet xnat/xnat-postgresql with a sidecar",
    "Pod xnat/xnat-xnat-web-0: is not ready",
    "by its own probes it may take 620 s",
]
"""A part of what is said about each."""


@pytest.fixture(scope="module")
def obstructed(lab: Lab) -> Lab:
    """A fresh lab with whatever is known to harm a site, or to stop a run half-way."""
    # Its StatefulSet waits for this pod for ever, though its template has been mended since.
    patch(lab, {"op": "replace", "path": PROBED, "value": 9})
    until("a web pod that is never ready", lambda: web_pod_is_late(lab), timeout=60)
    patch(
        lab,
        {"op": "replace", "path": PROBED, "value": "http"},
        OUTSIDE,
        HOST_PORT,
    )
    add(lab, *HARMS)
    rolled_out = ("statefulset/xnat-xnat-web-upload", "--timeout=60s")
    lab.run("kubectl", "--namespace", "xnat", "rollout", "status", *rolled_out)
    lab.run("kubectl", "label", "namespace", "xnat", SECURED)
    return lab


def test_a_run_is_refused_as_a_whole_before_its_first_change(
    obstructed: Lab, tmp_path: Path
) -> None:
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(yaml.safe_dump(PARAMETERS))
    before, versions = snapshot.of(obstructed), snapshot.versions(obstructed)
    done = run(obstructed, tmp_path, "-f", str(parameters))
    assert done.code == ExitCode.REFUSED, done.output
    assert [words for words in TOLD if words not in done.output] == [], done.output
    assert "set application.plaintext_ports: [8104, 8105, 9091, 9092]" in done.output
    refused = {step for step, outcome in done.outcomes.items() if outcome == "refused"}
    assert {"injection-restart", "mutual-tls-strict", "authorization-read-only"} <= refused
    assert done.outcomes["install-base"] == "not run"
    assert snapshot.difference(before, snapshot.of(obstructed)) == ""
    assert snapshot.versions(obstructed) == versions


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"app": "xnat-xnat-web"}, "its pods do not carry app=xnat-xnat-web"),
        ({"app.kubernetes.io/instance": "xnat"}, "selects these pods, too"),
    ],
)
def test_labels_that_select_other_pods_than_the_web_pods_are_refused(
    obstructed: Lab, tmp_path: Path, labels: dict[str, str], reason: str
) -> None:
    parameters = tmp_path / "parameters.yaml"
    application = {"web": {"labels": labels}}
    parameters.write_text(yaml.safe_dump({**PARAMETERS, "application": application}))
    done = run(obstructed, tmp_path, "-f", str(parameters))
    assert done.code == ExitCode.REFUSED, done.output
    assert reason in done.output
    assert set(done.changed) == set()


def test_a_notebook_that_nothing_is_in_the_way_of_can_be_run_alone(
    obstructed: Lab, tmp_path: Path
) -> None:
    done = run(obstructed, tmp_path, "--only", "01_install_istio", command="plan")
    assert done.code == ExitCode.DONE, done.output
