"""Objects beside an application that are known to harm it on the way into a mesh."""

from __future__ import annotations

import json
from typing import Any

from runbook_lib.base.wait import State
from tests.labs import Lab

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

UPLOAD = keeping("StatefulSet", "xnat-xnat-web-upload", {**WEB, "role": "upload"})
"""Its selector holds the web workload's, and its pods carry the web pods' labels."""

CRON_JOB = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "pipeline", "namespace": "xnat"},
    "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": ENDING}}},
}
"""Its pods would never complete beside a sidecar that does not end."""

SIDE_DOOR = service("side-door", WEB, 9091, type="NodePort")
"""A way in to a port that no parameter names."""

INNER_DOOR = (
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "tcp-services", "namespace": "default"},
        "data": {"9092": "xnat/inner-door:9092"},
    },
    service("inner-door", WEB, 9092),
)
"""Another, of ingress-nginx."""

EXPORTER = service("exporter", DATABASE, 9187, notes={"prometheus.io/scrape": "true"})
"""Something that is read from outside of the mesh."""

HOST_PORT = {
    "op": "add",
    "path": "/spec/template/spec/containers/0/ports/-",
    "value": {"containerPort": 8105, "hostPort": 8105, "name": "side"},
}
OUTSIDE = {
    "op": "add",
    "path": "/spec/template/metadata/labels/sidecar.istio.io~1inject",
    "value": "false",
}
PROBED = "/spec/template/spec/containers/0/readinessProbe/httpGet/port"

SECURED = "pod-security.kubernetes.io/enforce=baseline"
"""A label of the namespace with which no istio-init is let in."""


def add(lab: Lab, *items: dict[str, Any]) -> None:
    """Apply objects."""
    for item in items:
        lab.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(item))


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
