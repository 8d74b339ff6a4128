"""Objects that are being deleted: what is applied to them would be gone with them."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.chapters.shared.preflight.wording import kubectl
from runbook_lib.cluster import Object, name_of, reference
from runbook_lib.lifecycle import Context, Finding


def namespaces(context: Context) -> Iterator[Finding]:
    """Find namespaces of the runbook that are being deleted."""
    parameters = context.parameters
    for name in dict.fromkeys(
        (
            parameters.application.namespace,
            parameters.istio.namespace,
            parameters.kiali.operator_namespace,
        )
    ):
        yield from namespace(context, name)


def namespace(context: Context, name: str) -> Iterator[Finding]:
    """Find that one namespace is being deleted."""
    found = context.cluster.get("v1", "Namespace", name)
    finding = deletion(found) if found is not None else None
    if finding is not None:
        yield finding


def deletion(item: Object) -> Finding | None:
    """Find that an object is being deleted, and say what holds it; None if it is not."""
    metadata = item["metadata"]
    since = metadata.get("deletionTimestamp")
    if since is None:
        return None
    where, name = reference(item), name_of(item)
    if item["kind"] == "Namespace":
        conditions = (item.get("status") or {}).get("conditions") or []
        holding = [c["message"] for c in conditions if c["status"] == "True" and c.get("message")]
        return Finding(
            where,
            f"Terminating since {since}; {' '.join(holding) or 'nothing is reported to hold it'}",
            "nothing can be created in it, and what is in it will be gone",
            "wait until it is gone, then run again; what holds it: "
            f"kubectl get namespace {name} --output jsonpath='{{.status.conditions}}'. Remove a "
            "finalizer only when the controller that it waits for is gone for good",
        )
    finalizers = ", ".join(metadata.get("finalizers") or []) or "none"
    scope = ["--namespace", metadata["namespace"]] if "namespace" in metadata else []
    return Finding(
        where,
        f"being deleted since {since}; finalizers that hold it: {finalizers}",
        "what is applied to it now would be gone with it",
        "wait until it is gone, then run again; if the controller of a finalizer is not running, "
        f"start it: it ends the deletion. Look: {kubectl('get', item['kind'], name, *scope)}",
    )
