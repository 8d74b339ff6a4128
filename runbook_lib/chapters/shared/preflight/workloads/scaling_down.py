"""Nodes that Cluster Autoscaler keeps, because of the volumes that sidecars bring."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.chapters.shared.preflight.wording import few
from runbook_lib.chapters.shared.preflight.workloads.listed import Listed
from runbook_lib.cluster import APPS, annotations_of, pods, reference
from runbook_lib.lifecycle import Context, Finding, Severity

_EVICTABLE = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_VOLUMES = f"{_EVICTABLE}-local-volumes"
"""Annotations of pods: https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md."""

_OFF = "--skip-nodes-with-local-storage=false"

_OF_SIDECARS = "workload-socket,credential-socket,workload-certs,istio-data"
"""The emptyDirs of Istio's injection template that are on disk; those in memory hold no node."""


def held(context: Context, waiting: Sequence[Listed]) -> tuple[Finding, ...]:
    """Find that nodes will not be given back: a pod with an emptyDir holds its own.

    See https://github.com/istio/istio/issues/19395.
    """
    holding = [each.where for each in waiting if not _may_go(each)]
    if not holding or _all_may_go(context):
        return ()
    return tuple(
        Finding(
            reference(item),
            "it gives no node back that has a pod with an emptyDir, and sidecars have some",
            f"nodes with pods of {few(holding)} stay, however empty they are",
            "have the sidecars say that their volumes may go, before this restart (from Cluster "
            "Autoscaler 1.27 on)",
            (f"no {_OFF}",),
            parameter="istio.istiod.values: {sidecarInjectorWebhook: {injectedAnnotations: "
            f'{{{_VOLUMES}: "{_OF_SIDECARS}"}}}}}}',
            severity=Severity.NOTE,
            name="cluster-autoscaler",
        )
        for item in context.cluster.list(APPS, "Deployment")
        if any("cluster-autoscaler" in image for image in pods.images([item]))
        and _OFF not in _words(item["spec"]["template"]["spec"])
    )


def _may_go(each: Listed) -> bool:
    marks = annotations_of(each.template)
    return marks.get(_EVICTABLE) == "true" or "istio-data" in marks.get(_VOLUMES, "")


def _all_may_go(context: Context) -> bool:
    webhook = context.parameters.istio.istiod.values.get("sidecarInjectorWebhook") or {}
    marks = webhook.get("injectedAnnotations") or {}
    return bool(marks.get(_VOLUMES) or marks.get(_EVICTABLE))


def _words(spec: dict[str, list[dict[str, list[str]]]]) -> list[str]:
    return [
        word
        for container in spec["containers"]
        for key in ("command", "args")
        for word in container.get(key) or []
    ]
