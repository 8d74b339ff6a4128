"""What would refuse a later step ends a run before the first one changes anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base import ExitCode
from tests import snapshot
from tests.labs import Lab
from tests.notebooks.headless import run

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(600)]

DOOR = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "side-door", "namespace": "xnat"},
    "spec": {
        "type": "NodePort",
        "selector": {"app.kubernetes.io/name": "xnat-web"},
        "ports": [{"name": "http-side", "port": 9091, "targetPort": 9091}],
    },
}
STRANGER = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "worker", "namespace": "xnat"},
    "spec": {
        "selector": {"matchLabels": {"app": "worker"}},
        "template": {
            "metadata": {"labels": {"app": "worker"}},
            "spec": {"containers": [{"name": "worker", "image": "lab.invalid/worker:1"}]},
        },
    },
}


@pytest.fixture(scope="module")
def obstructed(lab: Lab) -> Lab:
    """A fresh lab with something in the way of 02, and something in the way of 04 and 05."""
    items: list[Any] = [DOOR, STRANGER]
    for item in items:
        lab.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(item))
    lab.run("kubectl", "--namespace", "xnat", "rollout", "status", "deployment/worker")
    return lab


def test_a_run_is_refused_as_a_whole_before_its_first_change(
    obstructed: Lab, tmp_path: Path
) -> None:
    before = snapshot.of(obstructed)
    done = run(obstructed, tmp_path)
    assert done.code == ExitCode.REFUSED, done.output
    assert "2 things are in the way:" in done.output
    assert "belongs to no workload in application.restart_order" in done.output
    assert "Service xnat/side-door (NodePort) leads to port 9091" in done.output
    assert "set application.plaintext_ports: [8104, 9091]" in done.output
    refused = {step for step, outcome in done.outcomes.items() if outcome == "refused"}
    assert {"injection-restart", "mutual-tls-strict", "authorization-read-only"} <= refused
    assert done.outcomes["install-base"] == "not run"
    assert snapshot.difference(before, snapshot.of(obstructed)) == ""


def test_a_notebook_that_nothing_is_in_the_way_of_can_be_run_alone(
    obstructed: Lab, tmp_path: Path
) -> None:
    done = run(obstructed, tmp_path, "--plan", "--notebook", "01_install_istio")
    assert done.code == ExitCode.DONE, done.output
