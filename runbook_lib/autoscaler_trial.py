"""Ask the API server for a pod of a workload's new template, as a dry run.

A workload deletes pods before it learns that their successors are refused, by a limit, a quota or
a contradiction in what a webhook makes of annotations.
"""

from __future__ import annotations

import copy

from runbook_lib.cluster import Object
from runbook_lib.context import Context
from runbook_lib.diff import reference
from runbook_lib.errors import ClusterRefused, RunbookError


def require_accepted(context: Context, live: Object, changed: Object) -> str:
    """Check that pods of a changed template are accepted where those of the present one are.

    Args:
        context: Where.
        live: The workload as it is.
        changed: The workload as it shall be.

    Returns:
        Why that cannot be known: pods are refused for another reason, such as a missing right or a
        policy against pods that no workload owns. Empty if they are accepted.

    Raises:
        RunbookError: The change is why they are refused.
    """
    refused = _refusal(context, changed)
    if refused is None:
        return ""
    # A busy API server or a failing webhook says nothing about the pod.
    if refused.status < 500 and _refusal(context, live) is None:
        raise RunbookError(
            f"{reference(live)} would lose its pods, as new ones are refused: {refused.cause}",
            "change autoscaling.proxy so that they are accepted; or choose another "
            "autoscaling.remedy: container-resource",
        ) from refused
    return f"whether new pods of {reference(live)} are accepted, because {refused.cause}"


def _refusal(context: Context, workload: Object) -> ClusterRefused | None:
    """Return how the API server refuses a workload's pod; None if it accepts it."""
    try:
        context.cluster.apply(_pod(workload), dry_run=True)
    except ClusterRefused as error:
        return error
    return None


def _pod(workload: Object) -> Object:
    """Return a pod as the workload's controller would create it."""
    metadata, spec = workload["metadata"], workload["spec"]
    template = copy.deepcopy(spec["template"])
    name = f"{metadata['name'][:40]}-trial"
    claims = [each["metadata"]["name"] for each in spec.get("volumeClaimTemplates") or []]
    if claims:
        template["spec"]["volumes"] = [
            *(v for v in template["spec"].get("volumes") or [] if v["name"] not in claims),
            *({"name": c, "persistentVolumeClaim": {"claimName": f"{c}-{name}"}} for c in claims),
        ]
    given = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": given.get("labels") or {},
            "annotations": given.get("annotations") or {},
        },
        "spec": template["spec"],
    }
