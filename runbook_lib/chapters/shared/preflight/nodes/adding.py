"""What adds nodes to a cluster when pods find no room."""

from __future__ import annotations

from runbook_lib.cluster import APPS, CRD, CUSTOM_KINDS, name_of, namespace_of
from runbook_lib.lifecycle import Context

_NODE_POOLS = "nodepools.karpenter.sh"


def adds_nodes(context: Context) -> str:
    """Return what adds nodes when pods find no room, as far as it can be seen; empty if nothing."""
    for deployment in context.cluster.list(APPS, "Deployment"):
        name = name_of(deployment)
        if "cluster-autoscaler" in name or name == "karpenter":
            return f"Deployment {namespace_of(deployment)}/{name}"
    if context.cluster.get(CUSTOM_KINDS, CRD, _NODE_POOLS):
        return "Karpenter, or EKS Auto Mode,"
    return ""
