"""A file that `init` writes takes an application through the safe story, without an edit.

The database is another each time: one that an operator keeps, then one outside. That of the public
chart, and an application without one, go through the whole story in test_portal.py.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base import Journal, State, journal
from runbook_lib.base.locations import repository_root
from runbook_lib.base.wait import until
from runbook_lib.cluster import Cluster
from runbook_lib.lifecycle import ByHand, Context, target
from runbook_lib.parameters import loading
from tests.labs import Lab, named, take
from tests.notebooks.headless import execute, run

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(600),
]

STANDINS = repository_root() / "runbook_lib" / "lab" / "standins"
DATABASE, OUTSIDE = "xnat-postgresql", "outside"
PORT = {"name": "tcp-postgresql", "port": 5432}

CLUSTER: list[dict[str, Any]] = [
    {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": "xnat-db", "namespace": "xnat"},
        "spec": {
            "instances": 1,
            "storage": {"size": "8Gi"},
            "bootstrap": {"initdb": {"database": "xnat", "owner": "xnat"}},
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": DATABASE, "namespace": "xnat"},
        "spec": {
            "selector": {"cnpg.io/cluster": "xnat-db", "cnpg.io/instanceRole": "primary"},
            "ports": [PORT],
        },
    },
]


def of_the_chart() -> list[dict[str, Any]]:
    """The database's objects, as the public chart makes them."""
    every = yaml.safe_load_all((STANDINS / "application.yaml").read_text())
    return [item for item in every if item and item["metadata"]["name"].startswith(DATABASE)]


def apply(lab: Lab, *items: dict[str, Any]) -> None:
    lab.run("kubectl", "apply", "--filename=-", stdin=yaml.safe_dump_all(items))


def drafted(lab: Lab, folder: Path) -> tuple[Path, dict[str, Any]]:
    """What `init` writes, with nothing changed in the namespace and nothing left to do."""
    listed = ("kubectl", "get", "all,configmaps,secrets", "--namespace", "xnat", "--output=name")
    before = lab.run(*listed)
    file = folder / "my-cluster.yaml"
    place = ("--context", lab.state.context, "--namespace", "xnat", "--output", str(file))
    done = execute(lab, "-m", "runbook_lib", "init", *place, "--ask-methods")
    assert done.returncode == 0, done.stdout
    assert "CHANGE" not in done.stdout
    assert lab.run(*listed) == before
    return file, yaml.safe_load(file.read_text())


def test_pods_of_an_operator_are_restarted_as_02_says_while_it_waits(
    lab: Lab, tmp_path: Path
) -> None:
    lab.run("kubectl", "apply", "--filename", str(STANDINS / "cloudnativepg.yaml"))
    lab.run(*("kubectl", "wait", "--for=condition=Established"), "crd/clusters.postgresql.cnpg.io")
    lab.run("kubectl", "delete", "--filename=-", stdin=yaml.safe_dump_all(of_the_chart()))
    apply(lab, *CLUSTER)
    ready = ("kubectl", "--namespace=xnat", "wait", "--for=condition=Ready", "--timeout=60s")
    lab.run(*("kubectl", "--namespace=xnat", "wait", "--for=create", "pod/xnat-db-1"))
    lab.run(*ready, "pod/xnat-db-1")
    file, made = drafted(lab, tmp_path)
    assert made["application"]["restarted_by_owner"] == ["Cluster/xnat-db"]
    assert made["application"]["restart_order"] == ["StatefulSet/xnat-xnat-web"]

    checked = loading.load(file).parameters
    pinned = target.resolve(checked)
    evidence = Journal(tmp_path / "evidence.jsonl", run="r", step="s")
    context = Context(checked, pinned, Cluster.of(pinned), evidence)
    for name in ("install-base", "install-istiod", "injection-label"):
        take(context, name)
    step = named(context, "injection-restart")
    plan = step.plan(context)
    assert plan.summary == "restart StatefulSet xnat/xnat-xnat-web"
    assert "kubectl cnpg restart xnat-db --namespace xnat" in plan.note

    def asked() -> str:
        events = (entry.event for entry in journal.read(evidence.path).entries)
        return next((event.what for event in events if isinstance(event, ByHand)), "")

    with ThreadPoolExecutor() as pool:
        applied = pool.submit(step.apply, context, plan)
        until("02 to say how", lambda: State(bool(asked()), "not yet"), timeout=60)
        command = re.search(r"kubectl annotate .*", asked())
        assert command is not None
        lab.run("sh", "-c", command[0])
        applied.result(timeout=240)
    assert step.verify(context).ok


def test_the_web_part_alone_has_its_database_outside(lab: Lab, tmp_path: Path) -> None:
    """With a Service without selector in its place, as one has for RDS."""
    lab.run("kubectl", "delete", "--filename=-", stdin=yaml.safe_dump_all(CLUSTER))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OUTSIDE}}
    moved = (
        {**item, "metadata": {**item["metadata"], "namespace": OUTSIDE}} for item in of_the_chart()
    )
    apply(lab, namespace, *moved)
    at = ("kubectl", "--namespace", OUTSIDE)
    lab.run(*at, "rollout", "status", f"statefulset/{DATABASE}", "--timeout=60s")
    address = lab.run(*at, "get", "pod", f"{DATABASE}-0", "--output=jsonpath={.status.podIP}")
    of = {"kubernetes.io/service-name": DATABASE}
    apply(
        lab,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": DATABASE, "namespace": "xnat"},
            "spec": {"ports": [PORT]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "rds", "namespace": "xnat", "labels": of},
            "addressType": "IPv4",
            "ports": [PORT],
            "endpoints": [{"addresses": [address]}],
        },
    )
    file, made = drafted(lab, tmp_path)
    assert f"Service {DATABASE} leads to {address}" in file.read_text()
    assert made["application"]["restart_order"] == ["StatefulSet/xnat-xnat-web"]
    chapters = ("--only", "04_mutual_tls", "--only", "05_authorization")
    went = run(lab, tmp_path / "runs", "--parameters", str(file), *chapters)
    assert went.code == 0, went.output
    assert set(went.outcomes.values()) == {"verified"}
    assert went.answers("authorization-methods")["PATCH"] == "403 RBAC: access denied"
    assert lab.request("GET").status_code == 200
