"""Ask the API server for a pod of a workload's new template, as a dry run.

A workload deletes pods before it learns that their successors are refused, by a limit, a quota or
a contradiction in what a webhook makes of annotations.
"""

from __future__ import annotations

from runbook_lib.base import ClusterRefused
from runbook_lib.cluster import Object, reference
from runbook_lib.lifecycle import Context, Finding, Refused
from runbook_lib.mesh import rollout


def require_accepted(context: Context, live: Object, changed: Object) -> str:
    """Check that pods of a changed template are accepted where those of the present one are.

    Args:
        context: Where.
        live: The workload as it is.
        changed: The workload as it should be.

    Returns:
        Why that cannot be known: pods are refused for another reason, such as a missing right or a
        policy against pods that no workload owns. Empty if they are accepted.

    Raises:
        Refused: The change is why they are refused.
    """
    refused = _refusal(context, changed)
    if refused is None:
        return ""
    # A busy API server or a failing webhook says nothing about the pod.
    if refused.status < 500 and _refusal(context, live) is None:
        raise Refused(
            Finding(
                reference(live),
                f"new pods with the smaller sidecar are refused: {refused.cause}",
                "it would lose the pods that it has, and get no others",
                "change autoscaling.proxy so that they are accepted",
                parameter="autoscaling.remedy: container-resource",
            )
        ) from refused
    return f"whether new pods of {reference(live)} are accepted, because {refused.cause}"


def _refusal(context: Context, workload: Object) -> ClusterRefused | None:
    """Return how the API server refuses a workload's pod; None if it accepts it."""
    try:
        context.cluster.apply(rollout.trial_pod(workload, "trial"), dry_run=True)
    except ClusterRefused as error:
        return error
    return None
