"""A cluster that holds the objects given, for code that only reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from runbook_lib.base.errors import KindNotInstalled
from runbook_lib.base.journal import Journal
from runbook_lib.cluster.client import Cluster, Everything
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.context import Context
from tests.unit.samples import LAB, lab_parameters

WEB = {"app": "xnat-web"}

OF_KUBERNETES = (
    *("v1", "admissionregistration.k8s.io/", "apiextensions.k8s.io/", "apps/", "autoscaling/"),
    *(
        "batch/",
        "coordination.k8s.io/",
        "networking.k8s.io/",
        "policy/",
        "rbac.authorization.k8s.io/",
    ),
)
"""Groups that every cluster serves."""


class GivenCluster:
    """Knows the kinds of its objects, and those of Kubernetes itself."""

    def __init__(self, *objects: Object) -> None:
        self.objects = list(objects)

    def list(
        self,
        version: str,
        kind: str,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[Object]:
        served = version.startswith(OF_KUBERNETES)
        if not served and not any(
            item["kind"] == kind and item.get("apiVersion", version) == version
            for item in self.objects
        ):
            raise KindNotInstalled(version, kind)
        return [
            item
            for item in self.objects
            if item["kind"] == kind
            and item.get("apiVersion", version) == version
            and namespace in (None, item["metadata"].get("namespace"))
            and (labels or {}).items() <= (item["metadata"].get("labels") or {}).items()
        ]

    def get(
        self, version: str, kind: str, name: str, namespace: str | None = None
    ) -> Object | None:
        found = (o for o in self.list(version, kind, namespace) if o["metadata"]["name"] == name)
        return next(found, None)

    def apply(self, manifest: Object, *, dry_run: bool, **_how: Any) -> Object:
        """Take what is planned as it is given: there is nothing to merge it with."""
        assert dry_run, "it only reads"
        return manifest

    def everything(
        self, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Everything:
        found = [
            item
            for item in self.objects
            if namespace in (None, item["metadata"].get("namespace"))
            and (labels or {}).items() <= (item["metadata"].get("labels") or {}).items()
        ]
        return Everything(found, {})


def context(folder: Path, *objects: Object, **given: Any) -> Context:
    """What steps work with, on a cluster with these objects."""
    evidence = Journal(folder / "evidence.jsonl", run="r")
    cluster = cast(Cluster, GivenCluster(*objects))
    return Context(lab_parameters(**given), LAB, cluster, evidence)


def kept_by(name: str) -> dict[str, Any]:
    """The metadata of a pod that says which StatefulSet keeps it."""
    return {"ownerReferences": [{"kind": "StatefulSet", "name": name, "controller": True}]}


def web_workload(selector: dict[str, str] = WEB, **labels: str) -> Object:
    """The StatefulSet of the web pods, whose template may carry more labels than its selector."""
    template = {"metadata": {"labels": {**selector, **labels}}, "spec": {"containers": []}}
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "xnat-xnat-web", "namespace": "xnat"},
        "spec": {"selector": {"matchLabels": selector}, "template": template},
    }


def pod(
    name: str = "xnat-xnat-web-0",
    *containers: Object,
    namespace: str = "xnat",
    labels: dict[str, str] = WEB,
    sidecar: bool = True,
    **metadata: Any,
) -> Object:
    """A ready pod of the web workload, or with other labels of one that it is named after.

    It has a container that declares 8080 if none is given.
    """
    keeper = "xnat-xnat-web" if labels == WEB else name.rpartition("-")[0]
    own = [*containers] or [{"name": "web", "ports": [{"containerPort": 8080, "name": "http"}]}]
    every = [*own, *([{"name": "istio-proxy"}] if sidecar else [])]
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            **kept_by(keeper),
            **metadata,
        },
        "spec": {"containers": every},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": each["name"], "ready": True} for each in every],
        },
    }
