"""Which nodes a pod may run on, as the scheduler judges: taints, labels, and its volumes' zones.

Affinity to other pods and spreading are left out: they forbid more, and rarely by zone alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.cluster import Object, labels_of, matches, name_of

OS = "kubernetes.io/os"
"""The kubelet's own label on every node, see
https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-os."""


def takes(node: Object, spec: Object, selectors: Sequence[Object] = ()) -> bool:
    """Whether a node takes a pod, room aside.

    Args:
        node: The node.
        spec: The pod's.
        selectors: Node selectors besides the pod's own, such as those of its volumes.

    Returns:
        Never true of a node of Windows, where no image of Istio's runs.
    """
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return (
        _is_ready(node)
        and not node["spec"].get("unschedulable")
        and not untolerated(node, spec)
        and not is_windows(node)
        and (spec.get("nodeSelector") or {}).items() <= labels_of(node).items()
        and all(_selects(each, node) for each in (affinity, *selectors) if each)
    )


def is_windows(node: Object) -> bool:
    """Whether a node runs Windows."""
    return labels_of(node).get(OS) == "windows"


def untolerated(node: Object, spec: Object) -> list[Object]:
    """Return the taints of a node that keep a pod away."""
    return [taint for taint in node["spec"].get("taints") or [] if not _tolerated(taint, spec)]


def _is_ready(node: Object) -> bool:
    conditions = node["status"].get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _tolerated(taint: Object, spec: Object) -> bool:
    if taint["effect"] == "PreferNoSchedule":
        return True
    return any(
        toleration.get("effect") in (None, "", taint["effect"])
        and toleration.get("key") in (None, "", taint["key"])
        and (
            toleration.get("operator") == "Exists"
            or toleration.get("value", "") == taint.get("value", "")
        )
        for toleration in spec.get("tolerations") or []
    )


def _selects(selector: Object, node: Object) -> bool:
    """Whether one of a node selector's terms holds."""
    return any(
        matches(term, labels_of(node))
        and matches({"matchExpressions": term.get("matchFields")}, {"metadata.name": name_of(node)})
        for term in selector.get("nodeSelectorTerms") or []
    )
