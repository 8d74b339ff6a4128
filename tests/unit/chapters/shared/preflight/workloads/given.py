"""A namespace with a database and the web workload before the mesh, on one node with room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from runbook_lib.base.errors import ClusterRefused
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.finding import Finding
from tests.unit.doubles.given_cluster import GivenCluster, context, kept_by

WEB, DATABASE = "xnat-xnat-web", "xnat-postgresql"

Refusal = Callable[[Object], ClusterRefused | None]


class TryingCluster(GivenCluster):
    """Answers dry runs of pods, too."""

    def __init__(self, *objects: Object, refuse: Refusal = lambda _pod: None) -> None:
        super().__init__(*objects)
        self._refuse = refuse
        self.tried: list[Object] = []

    def apply(self, manifest: Object, *, dry_run: bool) -> Object:
        assert dry_run
        self.tried.append(manifest)
        if refusal := self._refuse(manifest):
            raise refusal
        return manifest


def node(version: str = "v1.34.1", **status: Any) -> Object:
    return {
        "kind": "Node",
        "metadata": {"name": "node", "namespace": "", "labels": {"zone": "a"}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi"},
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": version},
            **status,
        },
    }


def workload(
    name: str = WEB, kind: str = "StatefulSet", *, labels: Any = None, **pod_spec: Any
) -> Object:
    template: Object = {
        "metadata": {"labels": {"app": name, **(labels or {})}},
        "spec": {"containers": [{"name": "main", "image": "i"}], **pod_spec},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "xnat"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
        },
        "status": {"updateRevision": f"{name}-2"},
    }


def pod(
    name: str = WEB, *, ready: bool = True, labels: Any = None, node: str = "node", **spec: Any
) -> Object:
    status = "True" if ready else "False"
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-0",
            "namespace": "xnat",
            "labels": {"app": name, "controller-revision-hash": f"{name}-2", **(labels or {})},
            **kept_by(name),
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main", "resources": {"requests": {"cpu": "1"}}}],
            **spec,
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
    }


def namespace(*more: Object, web: Object | None = None, web_pod: Object | None = None) -> list[Any]:
    return [
        node(),
        workload(DATABASE),
        pod(DATABASE),
        web or workload(),
        web_pod or pod(),
        *more,
    ]


def on(
    folder: Path, *objects: Object, refuse: Refusal = lambda _pod: None, **given: Any
) -> Context:
    """The context of a run on these objects."""
    found = context(folder, **given)
    cluster = TryingCluster(*objects, refuse=refuse)
    return Context(found.parameters, found.target, cast(Cluster, cluster), found.journal)


def refusing(findings: Any) -> list[Finding]:
    return [each for each in findings if each.refuses]
