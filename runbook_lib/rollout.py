"""Wait until a workload runs its newest pods, and say why it does not yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runbook_lib import pods
from runbook_lib.cluster import RESTART_REASON, RESTARTED_AT, Object, ref
from runbook_lib.context import Context
from runbook_lib.errors import RunbookError
from runbook_lib.wait import State

APPS = "apps/v1"


def wait_until_complete(
    context: Context,
    kind: str,
    name: str,
    namespace: str,
    *,
    timeout: float,
    refuse: Callable[[Object], str] = lambda _pod: "",
) -> None:
    """Wait until every pod of a workload is of its newest template, and ready.

    Args:
        context: Where.
        kind: `Deployment`, `StatefulSet` or `DaemonSet`.
        name: The workload's name.
        namespace: Its namespace.
        timeout: Seconds in all.
        refuse: Says why a pod can never be right; empty if it can. Ends the wait at once.

    Raises:
        WaitFailed: A pod was refused.
        WaitTimeout: Time is up; the error shows the pods and why they are not ready.
    """

    def observe(found: list[Object]) -> State:
        if not found:
            return State(done=False, text=f"{ref(kind, name, namespace)} does not exist")
        workload = found[0]
        newest = [pod for pod in pods_of(context, workload) if is_newest(pod, workload)]
        for pod in newest:
            if problem := refuse(pod):
                return State(done=False, text=problem, failed=True)
        done, counts = progress(workload)
        return State(done, counts if done else f"{counts}; {_reasons(context, workload)}")

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


def require_rolling_update(workload: Object) -> None:
    """Check that a workload replaces its pods by itself when its template changes.

    Raises:
        RunbookError: It waits for somebody to delete them.
    """
    strategy = (workload["spec"].get("updateStrategy") or {}).get("type")
    if strategy == "OnDelete":
        metadata = workload["metadata"]
        raise RunbookError(
            f"{ref(workload['kind'], metadata['name'], metadata['namespace'])} replaces pods only "
            "when they are deleted (updateStrategy OnDelete)",
            "delete its pods yourself, one by one, and run this step again",
        )


def progress(workload: Object) -> tuple[bool, str]:
    """Return whether a rollout is complete, as `kubectl rollout status` judges, and its counts."""
    status: dict[str, Any] = workload.get("status") or {}
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        updated = status.get("updatedNumberScheduled", 0)
        ready, total = status.get("numberAvailable", 0), status.get("currentNumberScheduled", 0)
    else:
        wanted = workload["spec"].get("replicas", 1)
        updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
        ready = status.get("availableReplicas", 0)
    seen = status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 0)
    done = seen and updated == wanted and ready == wanted and total == wanted
    return done, f"{updated} of {wanted} updated, {ready} ready"


def pods_of(context: Context, workload: Object) -> list[Object]:
    """Return the pods that a workload's selector matches, without those that have ended."""
    selector = workload["spec"]["selector"]["matchLabels"]
    found = context.cluster.list("v1", "Pod", workload["metadata"]["namespace"], selector)
    return [pod for pod in found if not has_ended(pod)]


def has_ended(pod: Object) -> bool:
    """Whether a pod has done its work, like that of a Job, or was evicted."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_newest(pod: Object, workload: Object) -> bool:
    """Whether a pod carries the annotations of its workload's template, and no other restart's."""
    template = workload["spec"]["template"].get("metadata", {}).get("annotations") or {}
    found = pod["metadata"].get("annotations") or {}
    same_restart = all(
        found.get(key) == template.get(key) for key in (RESTARTED_AT, RESTART_REASON)
    )
    return same_restart and template.items() <= found.items()


def _reasons(context: Context, workload: Object) -> str:
    """Say what holds the workload up: its pods, or what keeps pods from being created."""
    found = pods_of(context, workload)
    waiting = [pods.describe(pod) for pod in found if not pods.is_ready(pod)]
    metadata = workload["metadata"]
    if not found:
        owners = [metadata["name"], *_replica_sets(context, workload)]
        reasons = pods.explain(context.cluster, metadata["namespace"], owners)
        return "; ".join(["no pods", *reasons[-2:]])
    return "; ".join(waiting) or "waiting for its pods to be replaced"


def _replica_sets(context: Context, workload: Object) -> list[str]:
    """Return the names of a Deployment's ReplicaSets: events about missing pods are theirs."""
    if workload["kind"] != "Deployment":
        return []
    metadata = workload["metadata"]
    found = context.cluster.list(
        APPS, "ReplicaSet", metadata["namespace"], workload["spec"]["selector"]["matchLabels"]
    )
    return [item["metadata"]["name"] for item in found]
