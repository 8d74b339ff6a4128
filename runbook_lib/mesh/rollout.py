"""Wait until a workload runs its newest pods, and say why it does not yet."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from runbook_lib.base import State
from runbook_lib.cluster import (
    APPS,
    RESTART_REASON,
    RESTARTED_AT,
    Object,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
    pods,
    ref,
    reference,
)
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import patience

_REWRITTEN = "prometheus.io/"
"""Annotations that the injector points at the sidecar's own port: a pod differs from its template.

See https://istio.io/latest/docs/ops/integrations/prometheus/#option-1-metrics-merging.
"""


def wait_until_complete(
    context: Context,
    kind: str,
    name: str,
    namespace: str,
    *,
    timeout: float | None = None,
    refuse: Callable[[Object], str] = lambda _pod: "",
) -> None:
    """Wait until every pod of a workload is of its newest template, and ready.

    Args:
        context: Where.
        kind: `Deployment`, `StatefulSet` or `DaemonSet`.
        name: The workload's name.
        namespace: Its namespace.
        timeout: Seconds in all; left out, as many as the workload's own probes allow.
        refuse: Says why a pod can never be right; empty if it can. Ends the wait at once.

    Raises:
        WaitFailed: A pod was refused.
        WaitTimeout: Time is up; the error shows the pods and why they are not ready.
    """

    def observe(found: list[Object]) -> State:
        if not found:
            return State(done=False, text=f"{ref(kind, name, namespace)} does not exist")
        workload = found[0]
        staying = [pod for pod in pods_of(context, workload) if not pods.is_leaving(pod)]
        newest = [pod for pod in staying if is_newest(pod, workload)]
        for pod in newest:
            if problem := refuse(pod):
                return State(done=False, text=problem, failed=True)
        done, counts = progress(workload)
        return State(done, counts if done else f"{counts}; {_reasons(context, workload)}")

    if timeout is None:
        timeout = patience.rollout_limit(context, context.cluster.get(APPS, kind, name, namespace))
    context.cluster.watch_until(
        f"{ref(kind, name, namespace)} to be rolled out",
        APPS,
        kind,
        namespace,
        observe,
        name=name,
        timeout=timeout,
        on_change=context.waiting,
    )


def held(workload: Object) -> Iterator[Finding]:
    """Find what keeps a workload from replacing all its pods when its template changes."""
    spec, where = workload["spec"], reference(workload)
    scope = f"--namespace {namespace_of(workload)}"
    name = f"{workload['kind'].lower()}/{name_of(workload)}"
    effect = "the step would wait in vain for pods that are not replaced"
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        yield Finding(
            where,
            "replaces pods only when they are deleted",
            effect,
            "delete its pods yourself, one by one, and run this step again",
            (".spec.updateStrategy.type: OnDelete",),
        )
    if kept := (strategy.get("rollingUpdate") or {}).get("partition", 0):
        yield Finding(
            where,
            f"keeps its first {kept} pods as they are",
            effect,
            f"set the partition to 0, and run this step again: kubectl edit {name} {scope}",
            (f".spec.updateStrategy.rollingUpdate.partition: {kept}",),
        )
    if spec.get("paused"):
        yield Finding(
            where,
            "is paused",
            effect,
            f"resume it, and run this step again: kubectl rollout resume {name} {scope}",
            (".spec.paused: true",),
        )


def progress(workload: Object) -> tuple[bool, str]:
    """Return whether a rollout is complete, as `kubectl rollout status` judges, and its counts."""
    desired, updated, ready, _ = _counts(workload)
    done = _all_replaced(workload) and ready == desired
    return done, f"{updated} of {desired} updated, {ready} ready"


def _all_replaced(workload: Object) -> bool:
    """Whether all pods are of the newest template and as many as desired; not if they are ready."""
    status: dict[str, Any] = workload.get("status") or {}
    desired, updated, _, total = _counts(workload)
    seen = status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 0)
    return seen and updated == desired and total == desired


def _counts(workload: Object) -> tuple[int, int, int, int]:
    """Return how many pods are desired, of the newest template, ready, and there at all."""
    status: dict[str, Any] = workload.get("status") or {}
    if workload["kind"] == "DaemonSet":
        desired = status.get("desiredNumberScheduled", 0)
        updated = status.get("updatedNumberScheduled", 0)
        ready, total = status.get("numberAvailable", 0), status.get("currentNumberScheduled", 0)
    else:
        desired = workload["spec"].get("replicas", 1)
        updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
        ready = status.get("availableReplicas", 0)
    return desired, updated, ready, total


def replaces(workload: Object, found: Sequence[Object]) -> bool:
    """Whether a rollout that is under way already will replace all these pods of a workload.

    Restarting it once more would only make it begin again: a StatefulSet with its highest pod.
    """
    return not _all_replaced(workload) and not any(is_newest(pod, workload) for pod in found)


def pods_of(context: Context, workload: Object) -> list[Object]:
    """Return the pods that a workload keeps, without those that have ended.

    They are told by their owner: selectors of several workloads may match the same pods.
    """
    selector = workload["spec"]["selector"].get("matchLabels")
    found = context.cluster.list("v1", "Pod", namespace_of(workload), selector)
    keeper = (workload["kind"], name_of(workload))
    return [pod for pod in found if pods.workload_of(pod) == keeper and not has_ended(pod)]


def trial_pod(workload: Object, suffix: str) -> Object:
    """Return a pod as a workload's controller would create it, to ask for as a dry run.

    Args:
        workload: The workload.
        suffix: What the pod's name ends with: it says what is tried.
    """
    spec = workload["spec"]
    template = copy.deepcopy(spec["template"])
    name = f"{name_of(workload)[:40]}-{suffix}"
    # A StatefulSet gives each pod volumes of its own, which the template mounts.
    claims = [name_of(each) for each in spec.get("volumeClaimTemplates") or []]
    if claims:
        template["spec"]["volumes"] = [
            *(v for v in template["spec"].get("volumes") or [] if v["name"] not in claims),
            *({"name": c, "persistentVolumeClaim": {"claimName": f"{c}-{name}"}} for c in claims),
        ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace_of(workload),
            "labels": labels_of(template),
            "annotations": annotations_of(template),
        },
        "spec": template["spec"],
    }


def has_ended(pod: Object) -> bool:
    """Whether a pod has done its work, like that of a Job, or was evicted."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_newest(pod: Object, workload: Object) -> bool:
    """Whether a pod carries the annotations of its workload's template, and no other restart's."""
    annotations = annotations_of(workload["spec"]["template"])
    template = {k: v for k, v in annotations.items() if not k.startswith(_REWRITTEN)}
    found = annotations_of(pod)
    same_restart = all(
        found.get(key) == template.get(key) for key in (RESTARTED_AT, RESTART_REASON)
    )
    return same_restart and template.items() <= found.items()


def _reasons(context: Context, workload: Object) -> str:
    """Say what holds the workload up: its pods, or what keeps pods from being created."""
    found = pods_of(context, workload)
    waiting = [pods.describe(pod) for pod in found if not pods.is_ready(pod)]
    if not found:
        owners = [name_of(workload), *_replica_sets(context, workload)]
        reasons = pods.explain(context.cluster, namespace_of(workload), owners)
        return "; ".join(["no pods", *reasons[-2:]])
    return "; ".join(waiting) or "waiting for its pods to be replaced"


def _replica_sets(context: Context, workload: Object) -> list[str]:
    """Return the names of a Deployment's ReplicaSets: events about missing pods are theirs."""
    if workload["kind"] != "Deployment":
        return []
    return [
        name_of(item)
        for item in context.cluster.list(APPS, "ReplicaSet", namespace_of(workload))
        if any(
            owner["uid"] == workload["metadata"]["uid"]
            for owner in item["metadata"].get("ownerReferences") or []
        )
    ]
