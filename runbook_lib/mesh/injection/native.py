"""Whether sidecars are native: init containers that keep running, started before all others.

A classic sidecar starts beside the application's containers, so that init containers run without
it, and it does not end when they do. istiod decides for each pod, see `DetectNativeSidecar` in
https://github.com/istio/istio/blob/master/pkg/kube/inject/webhook.go.
"""

from __future__ import annotations

from typing import Any

from runbook_lib.base import ClusterRefused, RunbookError
from runbook_lib.cluster import NATIVE_SIDECAR, PROXY, Object, annotations_of, pods
from runbook_lib.lifecycle import Context
from runbook_lib.mesh.injection import trial

_SWITCH = "ENABLE_NATIVE_SIDECARS"

_BY_NODES = (1, 27)
"""The Istio since which, unless it is told, istiod decides by the nodes; before, there were none.

See https://istio.io/latest/news/releases/1.27.x/announcing-1.27/change-notes/.
"""

_NODES = (1, 33)
"""The Kubernetes of all nodes that istiod then asks for."""

_NONE = (0, 0)
"""In place of what is no version."""


def are_native(context: Context, workload: Object) -> bool | None:
    """Return whether a workload's pods would get native sidecars; None if that cannot be told.

    Where istiod is there, it is asked, by a pod as a dry run.
    """
    chosen = annotations_of(workload["spec"]["template"]).get(NATIVE_SIDECAR)
    if chosen is not None:
        return chosen != "false"
    if trial.injector(context) is not None:
        return _as_tried(context, workload)
    switch = _switch(context.parameters.istio.istiod.values)
    if switch in ("true", "false"):
        return switch == "true"
    version = context.parameters.istio.version
    if version is not None and (pods.minor_of(version) or _NONE) < _BY_NODES:
        return False
    try:
        nodes = context.cluster.list("v1", "Node")
    except ClusterRefused:
        return None
    kubelets = [
        pods.minor_of(node["status"]["nodeInfo"]["kubeletVersion"]) or _NONE for node in nodes
    ]
    return all(kubelet >= _NODES for kubelet in kubelets) if kubelets else None


def _as_tried(context: Context, workload: Object) -> bool | None:
    try:
        answer = trial.attempt(context, workload, sidecar=True)
    except RunbookError:
        return None
    return next((c.native_sidecar for c in pods.containers(answer) if c.name == PROXY), None)


def _switch(values: dict[str, Any]) -> str:
    """Return what the chart's values have istiod do; both places are read, see its values.yaml."""
    for settings in (values.get("env"), (values.get("pilot") or {}).get("env")):
        if settings and _SWITCH in settings:
            return str(settings[_SWITCH]).lower()
    return ""
