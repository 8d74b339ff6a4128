"""A file that `init` writes takes an application through the safe story, without an edit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base.locations import repository_root
from tests.labs import Lab
from tests.notebooks.headless import execute, run

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(600),
]

MANIFEST = repository_root() / "runbook_lib" / "lab" / "standins" / "application.yaml"
CHAPTERS = ("01_install_istio", "02_label_namespace", "04_mutual_tls", "05_authorization")
DATABASE, OUTSIDE = "xnat-postgresql", "outside"


def move_database_out(lab: Lab) -> None:
    """Leave a Service without selector in place of the database, as one does for RDS."""
    moved: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OUTSIDE}}
    ]
    for item in yaml.safe_load_all(MANIFEST.read_text()):
        if item and item["metadata"]["name"].startswith(DATABASE):
            moved.append({**item, "metadata": {**item["metadata"], "namespace": OUTSIDE}})
            where = (f"{item['kind'].lower()}/{item['metadata']['name']}", "--wait")
            lab.run("kubectl", "-n", "xnat", "delete", *where)
    lab.run("kubectl", "apply", "-f", "-", stdin=yaml.safe_dump_all(moved))
    at = ("kubectl", "-n", OUTSIDE)
    lab.run(*at, "rollout", "status", f"statefulset/{DATABASE}", "--timeout=60s")
    address = lab.run(*at, "get", "pod", f"{DATABASE}-0", "--output=jsonpath={.status.podIP}")
    port = {"name": "tcp-postgresql", "port": 5432}
    left = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": DATABASE, "namespace": "xnat"},
            "spec": {"ports": [port]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{DATABASE}-outside",
                "namespace": "xnat",
                "labels": {"kubernetes.io/service-name": DATABASE},
            },
            "addressType": "IPv4",
            "ports": [port],
            "endpoints": [{"addresses": [address]}],
        },
    ]
    lab.run("kubectl", "apply", "-f", "-", stdin=yaml.safe_dump_all(left))


def test_the_web_part_alone_with_its_database_outside(lab: Lab, tmp_path: Path) -> None:
    move_database_out(lab)
    file = tmp_path / "my-cluster.yaml"
    place = ("--context", lab.state.context, "--namespace", "xnat", "--output", str(file))
    before = lab.run("kubectl", "get", "all", "--namespace", "xnat", "--output=name")
    done = execute(lab, "-m", "runbook_lib", "init", *place, "--ask-methods")
    assert done.returncode == 0, done.stdout
    assert lab.run("kubectl", "get", "all", "--namespace", "xnat", "--output=name") == before
    text = file.read_text()
    assert "CHANGE:" not in text
    assert f"Service {DATABASE} leads to" in text
    made = yaml.safe_load(text)
    assert made["application"]["restart_order"] == ["StatefulSet/xnat-xnat-web"]
    chapters = [option for name in CHAPTERS for option in ("--notebook", name)]
    went = run(lab, tmp_path / "runs", "--parameters", str(file), *chapters)
    assert went.code == 0, went.output
    assert set(went.outcomes.values()) == {"verified"}
    denied = went.answers("authorization-methods")["PATCH"]
    assert denied == "403 RBAC: access denied"
    pods = json.loads(lab.run("kubectl", "-n", "xnat", "get", "pods", "--output=json"))["items"]
    assert {len(pod["status"]["containerStatuses"]) for pod in pods} <= {2, 3}
    assert lab.request("GET").status_code == 200
