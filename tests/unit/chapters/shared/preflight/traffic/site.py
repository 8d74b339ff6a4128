"""A small site: a web workload, a database, and what is put in beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.context import Context
from tests.unit.doubles.given_cluster import WEB, context, web_workload

DATABASE = {"app": "database"}


def database(*ports: Object, **annotations: str) -> Object:
    """The StatefulSet that the web workload needs."""
    containers = [{"name": "postgresql", "ports": [{"containerPort": 5432}, *ports]}]
    template = {
        "metadata": {"labels": DATABASE, "annotations": annotations},
        "spec": {"containers": containers},
    }
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "xnat-postgresql", "namespace": "xnat"},
        "spec": {"selector": {"matchLabels": DATABASE}, "template": template},
    }


def web(*ports: Object, **annotations: str) -> Object:
    """The web workload."""
    found = web_workload()
    found["spec"]["template"]["metadata"]["annotations"] = annotations
    found["spec"]["template"]["spec"]["containers"] = [
        {"name": "xnat", "ports": [{"containerPort": 8080, "name": "http"}, *ports]}
    ]
    return found


def service(name: str, *ports: Object, selector: dict[str, str] = WEB, **metadata: Any) -> Object:
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "xnat", **metadata},
        "spec": {"selector": selector, "ports": list(ports), "clusterIP": "10.0.0.7"},
    }


def site(folder: Path, *objects: Object, **application: Any) -> Context:
    """The site, with the workloads given in place of those of the same name."""
    given = {each["metadata"]["name"] for each in objects if each["kind"] == "StatefulSet"}
    usual = [each for each in (web(), database()) if each["metadata"]["name"] not in given]
    return context(folder, *usual, *objects, application=application)
