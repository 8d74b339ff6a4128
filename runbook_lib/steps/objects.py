"""Plan and apply manifests by server-side apply: what steps that set objects have in common."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.cluster import Object
from runbook_lib.context import Context
from runbook_lib.diff import ObjectDiff, object_diff, reference
from runbook_lib.errors import ClusterRefused, KindNotInstalled
from runbook_lib.plan import Change, Plan


def plan_objects(context: Context, step: str, manifests: Sequence[Object], note: str = "") -> Plan:
    """Compare manifests with the cluster through a dry run on the API server.

    Args:
        context: Where to look.
        step: The step's name.
        manifests: What shall be, in the order in which it will be applied.
        note: What else a reader should know.

    Raises:
        ApplyConflict: Somebody else manages fields that would change.
        KindNotInstalled: The kind is missing, and this run wants to apply.
    """
    changes, unpredictable = [], []
    for manifest in manifests:
        diff, unknown = _compare(context, manifest)
        if diff.action != "none":
            changes.append(Change.of_object(diff))
        if unknown:
            unpredictable.append(unknown)
    return Plan(step, context.target.uid, tuple(changes), tuple(unpredictable), note)


def apply_objects(context: Context, plan: Plan, manifests: Sequence[Object]) -> None:
    """Apply those manifests that the plan changes."""
    changing = {change.ref for change in plan.changes}
    for manifest in manifests:
        if reference(manifest) in changing:
            context.cluster.apply(manifest)


def in_place(context: Context, manifest: Object) -> bool:
    """Whether applying the manifest would change nothing."""
    return _compare(context, manifest)[0].action == "none"


def live(context: Context, manifest: Object) -> Object | None:
    """Return the object that a manifest describes, as it is in the cluster."""
    metadata = manifest["metadata"]
    return context.cluster.get(
        manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace")
    )


def _compare(context: Context, manifest: Object) -> tuple[ObjectDiff, str]:
    """Return the difference, and what about it cannot be known yet."""
    try:
        current = live(context, manifest)
        desired = context.cluster.apply(manifest, dry_run=True)
    except KindNotInstalled as error:
        if context.parameters.mode != "plan":
            raise
        reason = f"the cluster does not know {error.kind} yet"
    except ClusterRefused as error:
        if context.parameters.mode != "plan" or error.status != 404:
            raise
        reason = "its namespace does not exist yet"
    else:
        return object_diff(current, desired), ""
    unknown = f"{reference(manifest)}: the API server's defaults, because {reason}"
    return object_diff(None, manifest), unknown
