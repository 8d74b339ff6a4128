"""Pods that no node has room for once they have a sidecar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from runbook_lib.base import ClusterRefused
from runbook_lib.chapters.shared.preflight.nodes import adds_nodes, takes
from runbook_lib.chapters.shared.preflight.wording import risk
from runbook_lib.chapters.shared.preflight.workloads.listed import Listed
from runbook_lib.chapters.shared.preflight.workloads.resources import (
    RESOURCES,
    Amounts,
    add,
    asked,
    of_sidecar,
    words,
)
from runbook_lib.cluster import Object, name_of, namespace_of
from runbook_lib.cluster.quantities import number
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.mesh import has_ended


def lacking(context: Context, waiting: Sequence[Listed]) -> Iterator[Finding]:
    """Find workloads of which a pod fits on no node any more with its sidecar.

    Pods are taken one by one, as they are replaced, and each leaves its own room first.
    """
    if not waiting:
        return
    try:
        there, everywhere = context.cluster.list("v1", "Node"), context.cluster.list("v1", "Pod")
    except ClusterRefused as refusal:
        yield Finding(
            "nodes",
            f"it cannot be told whether they have room for the sidecars: {refusal.cause}",
            "a pod without room would be away until a node is added",
            "ask for the right to list nodes, and the pods of all namespaces",
            severity=Severity.NOTE,
        )
        return
    used: dict[str, list[Object]] = {}
    for pod in everywhere:
        if (node := pod["spec"].get("nodeName")) and not has_ended(pod):
            used.setdefault(node, []).append(pod)
    for each in waiting:
        more = of_sidecar(context, each)["requests"]
        for pod in each.lacking:
            needed = add((asked(pod["spec"]), more))
            zones = _volumes_nodes(context, pod)
            possible = [node for node in there if takes(node, pod["spec"], zones)]
            free = {name_of(node): _free(node, used, pod) for node in possible}
            if any(all(left[r] >= needed[r] for r in needed) for left in free.values()):
                continue
            yield risk(context, "no-room", _finding(context, each, pod, needed, free))
            break


def _free(node: Object, used: Mapping[str, Sequence[Object]], replaced: Object) -> Amounts:
    """Return what is left on a node once a pod has been deleted."""
    others = [
        asked(pod["spec"])
        for pod in used.get(name_of(node), [])
        if (namespace_of(pod), name_of(pod)) != (namespace_of(replaced), name_of(replaced))
    ]
    taken = add(others)
    allocatable = node["status"]["allocatable"]
    return {r: number(allocatable[r]) - taken.get(r, Decimal(0)) for r in RESOURCES}


def _volumes_nodes(context: Context, pod: Object) -> list[Object]:
    """Return the node selectors of the volumes that a pod mounts: most are bound to a zone."""
    found = []
    for volume in pod["spec"].get("volumes") or []:
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        bound = claim and context.cluster.get(
            "v1", "PersistentVolumeClaim", claim, namespace_of(pod)
        )
        name = bound and bound["spec"].get("volumeName")
        held = name and context.cluster.get("v1", "PersistentVolume", name)
        required = held and (held["spec"].get("nodeAffinity") or {}).get("required")
        if required:
            found.append(required)
    return found


def _finding(
    context: Context, each: Listed, pod: Object, needed: Amounts, free: Mapping[str, Amounts]
) -> Finding:
    need = ", ".join(words(r, amount) for r, amount in needed.items())
    left = tuple(
        f"Node {name} has left: {', '.join(words(r, amount) for r, amount in amounts.items())}"
        for name, amounts in free.items()
    )
    who = adds_nodes(context)
    comes = (
        f"{who} would have to add one first, which takes minutes"
        if who
        else "nothing that adds nodes was found in the cluster"
    )
    return Finding(
        each.where,
        f"with its sidecar {name_of(pod)} needs {need}, and none of the nodes that it may run on "
        "has that left",
        f"it needs a new node: {comes}, and until then the pod is away",
        "add a node, in the zone of its volumes; or have sidecars ask for less: "
        "istio.istiod.values.global.proxy.resources",
        left or ("no node is ready, has room for new pods, and is where its volumes are",),
    )
