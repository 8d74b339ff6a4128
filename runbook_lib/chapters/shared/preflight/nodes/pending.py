"""Pods of Istio's and Kiali's that no node would take: they would stay Pending."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runbook_lib.base import ClusterRefused
from runbook_lib.chapters.shared.preflight.nodes.adding import adds_nodes
from runbook_lib.chapters.shared.preflight.nodes.taking import is_windows, takes, untolerated
from runbook_lib.chapters.shared.preflight.wording import few
from runbook_lib.cluster import WORKLOADS, Object, name_of, reference
from runbook_lib.lifecycle import Context, Finding, Severity


def on_no_node(context: Context, items: Iterable[Object], value: str) -> Iterator[Finding]:
    """Find workloads about to be made whose pods no node takes, whatever room it has.

    Args:
        context: Where.
        items: What is about to be made; anything but workloads is passed over.
        value: The parameter under which tolerations go, such as
            `istio.istiod.values.tolerations`.
    """
    workloads = [item for item in items if item["kind"] in WORKLOADS]
    if not workloads:
        return
    try:
        nodes = context.cluster.list("v1", "Node")
    except ClusterRefused as refusal:
        yield Finding(
            "nodes",
            f"it cannot be told whether they take pods of {reference(workloads[0])}: "
            f"{refusal.cause}",
            "pods that no node takes stay Pending",
            "ask for the right to list nodes",
            severity=Severity.NOTE,
        )
        return
    for each in workloads:
        spec = each["spec"]["template"]["spec"]
        if not any(takes(node, spec) for node in nodes):
            yield _finding(context, each, nodes, value)


def _finding(context: Context, workload: Object, nodes: list[Object], value: str) -> Finding:
    spec = workload["spec"]["template"]["spec"]
    taints = {
        f"{taint['key']}={taint.get('value', '')}:{taint['effect']}": taint
        for node in nodes
        if not is_windows(node)
        for taint in untolerated(node, spec)
    }
    who = adds_nodes(context)
    return Finding(
        reference(workload),
        f"none of the {len(nodes)} nodes takes its pods" if nodes else "there is no node",
        f"they would stay Pending until {who} adds a node that does"
        if who
        else "they would stay Pending, and the step would wait in vain",
        "have its pods tolerate the taints, or add a node without"
        if taints
        else "add a node of Linux that is ready, or let pods come to one: kubectl uncordon NODE",
        tuple(_shown(nodes, taints)),
        parameter=_tolerating(value, next(iter(taints.values()))) if taints else "",
        severity=Severity.NOTE if who else Severity.REFUSES,
    )


def _tolerating(value: str, taint: Object) -> str:
    return f"{value}: [{{key: {taint['key']}, operator: Exists}}]"


def _shown(nodes: list[Object], taints: dict[str, Object]) -> Iterator[str]:
    if taints:
        yield f".spec.taints: {few(list(taints))}"
    if windows := [name_of(node) for node in nodes if is_windows(node)]:
        yield f"of Windows: {few(windows)}"
