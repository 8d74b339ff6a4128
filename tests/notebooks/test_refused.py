"""What would refuse a later step ends a run before the first one changes anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base import ExitCode
from runbook_lib.base.wait import State, until
from tests import snapshot
from tests.labs import Lab
from tests.notebooks.headless import run

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(600)]

WEB = {"app.kubernetes.io/name": "xnat-web", "app.kubernetes.io/instance": "xnat"}
DATABASE = {"app.kubernetes.io/name": "postgresql", "app.kubernetes.io/instance": "xnat"}


def keeping(kind: str, name: str, labels: dict[str, str]) -> dict[str, Any]:
    """A workload of simulated pods."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "xnat"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "lab.invalid/worker:1"}]},
            },
        },
    }


def service(name: str, selector: dict[str, str], port: int, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "xnat", "annotations": more.pop("notes", {})},
        "spec": {
            "selector": selector,
            "ports": [{"name": "tcp-it", "port": port, "targetPort": port}],
            **more,
        },
    }


ENDING = {
    "metadata": {"labels": {"app": "pipeline"}},
    "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "lab.invalid/worker:1"}],
    },
}

HARMS = [
    # A selector that another one's is part of, and pods that the web pods' labels select as well.
    keeping("StatefulSet", "xnat-xnat-web-upload", {**WEB, "role": "upload"}),
    # Jobs that would never complete beside a sidecar that does not end.
    {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "pipeline", "namespace": "xnat"},
        "spec": {
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"template": ENDING}},
        },
    },
    # Doors to ports that no parameter names.
    service("side-door", WEB, 9091, type="NodePort"),
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "tcp-services", "namespace": "default"},
        "data": {"9092": "xnat/inner-door:9092"},
    },
    service("inner-door", WEB, 9092),
    # An exporter that something outside of the mesh reads.
    service("exporter", DATABASE, 9187, notes={"prometheus.io/scrape": "true"}),
]

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


def patch(lab: Lab, *operations: dict[str, Any]) -> None:
    """Change the web workload's template."""
    what = ("statefulset/xnat-xnat-web", "--type=json", f"--patch={json.dumps(operations)}")
    lab.run("kubectl", "--namespace", "xnat", "patch", *what)


def web_pod_is_late(lab: Lab) -> State:
    found = ("kubectl", "--namespace", "xnat", "get", "--output=json")
    told = lab.run(*found, "--ignore-not-found", "pod/xnat-xnat-web-0")
    if not told:  # Its successor is not made yet.
        return State(False, "xnat-xnat-web-0 is not there")
    pod = json.loads(told)
    newest = json.loads(lab.run(*found, "statefulset/xnat-xnat-web"))["status"]["updateRevision"]
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    own = pod["metadata"]["labels"]["controller-revision-hash"]
    done = own == newest and conditions.get("Initialized") == "True"
    return State(done and conditions.get("Ready") == "False", f"{own}: {conditions}")


@pytest.fixture(scope="module")
def obstructed(lab: Lab) -> Lab:
    """A fresh lab with whatever is known to harm a site, or to stop a run half-way."""
    main = "/spec/template/spec/containers/0"
    probe = f"{main}/readinessProbe/httpGet/port"
    mark = "/spec/template/metadata/labels/sidecar.istio.io~1inject"
    door = {"containerPort": 8105, "hostPort": 8105, "name": "side"}
    # Its StatefulSet waits for this pod for ever, though its template has been mended since.
    patch(lab, {"op": "replace", "path": probe, "value": 9})
    until("a web pod that is never ready", lambda: web_pod_is_late(lab), timeout=60)
    patch(
        lab,
        {"op": "replace", "path": probe, "value": "http"},
        {"op": "add", "path": mark, "value": "false"},
        {"op": "add", "path": f"{main}/ports/-", "value": door},
    )
    for item in HARMS:
        lab.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(item))
    rolled_out = ("statefulset/xnat-xnat-web-upload", "--timeout=60s")
    lab.run("kubectl", "--namespace", "xnat", "rollout", "status", *rolled_out)
    secured = "pod-security.kubernetes.io/enforce=baseline"
    lab.run("kubectl", "label", "namespace", "xnat", secured)
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
    done = run(obstructed, tmp_path, "--plan", "--notebook", "01_install_istio")
    assert done.code == ExitCode.DONE, done.output
