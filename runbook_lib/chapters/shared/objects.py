"""Plan, apply and delete manifests: what steps that set or remove objects have in common."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.base import ClusterRefused, KindNotInstalled, State
from runbook_lib.chapters.shared import preflight
from runbook_lib.cluster import (
    Object,
    ObjectDiff,
    annotations_of,
    authors,
    live_object,
    name_of,
    normalise,
    object_diff,
    ownership,
    reference,
)
from runbook_lib.lifecycle import (
    Change,
    Check,
    Context,
    Finding,
    Plan,
    Refused,
    Unknown,
    require,
)


def plan_objects(
    context: Context,
    step: str,
    manifests: Sequence[Object],
    note: str = "",
    *,
    own: bool = False,
) -> Plan:
    """Compare manifests with the cluster through a dry run on the API server.

    Args:
        context: Where to look.
        step: The step's name.
        manifests: What is to be there, in the order in which it will be applied.
        note: What else a reader should know.
        own: Whether each object is the runbook's alone. Fields that are added to a policy of others
            can change what it means, and no conflict would tell.

    Raises:
        ApplyConflict: Somebody else manages fields that would change.
        KindNotInstalled: The kind is missing, and this run wants to apply.
        Refused: An object, or the namespace of one, is being deleted; or others made it, and it is
            to be the runbook's `own`.
    """
    _refuse_leaving_namespaces(context, manifests)
    changes, unpredictable = [], []
    for manifest in manifests:
        diff, unknown = _compare(context, manifest)
        if own and diff.action == "change" and not context.comparing:
            _refuse_others(context, manifest)
        if diff.action != "none":
            changes.append(Change.of_object(diff, *([Unknown.DEFAULTS] if unknown else [])))
        if unknown:
            unpredictable.append(unknown)
    return Plan(step, context.target.uid, tuple(changes), tuple(unpredictable), note)


def apply_objects(context: Context, plan: Plan, manifests: Sequence[Object]) -> list[Object]:
    """Apply those manifests that the plan changes, and return the objects as they then are."""
    changing = {change.ref for change in plan.changes}
    return [
        context.cluster.apply(manifest) for manifest in manifests if reference(manifest) in changing
    ]


def plan_deletion(context: Context, step: str, manifests: Sequence[Object]) -> Plan:
    """Plan to delete what the runbook applied; what others made stays, and the note says so.

    Args:
        context: Where to look.
        step: The step's name.
        manifests: The objects, by what was applied, in the order in which they will be deleted.

    Raises:
        Refused: Somebody else has changed an object since.
    """
    changes, notes, changed = [], [], []
    for manifest in manifests:
        found = live_object(context.cluster, manifest)
        if found is None:
            continue
        if not ownership.is_own(found):
            notes.append(
                f"{reference(found)} stays: {ownership.makers(found)} made it, not this runbook."
            )
            continue
        if others := ownership.changed_by(found):
            changed.append(
                Finding(
                    reference(found),
                    "since the runbook applied it, "
                    + "; ".join(f"{name} changed {', '.join(at)}" for name, at in others.items()),
                    "their work would be lost with it",
                    "save it if it is still needed, delete it yourself, and run this again",
                )
            )
        changes.append(Change.of_object(object_diff(found, None)))
    require(changed)
    return Plan(step, context.target.uid, tuple(changes), note=" ".join(notes))


def delete_objects(
    context: Context, plan: Plan, manifests: Sequence[Object], *, timeout: float
) -> None:
    """Delete those objects that the plan deletes, and then wait until all are gone.

    Args:
        context: Where.
        plan: What was approved.
        manifests: As for `plan_deletion`.
        timeout: Seconds for each object.

    Raises:
        WaitTimeout: An object is still there; the error names the finalizers that hold it.
    """
    planned = {change.ref for change in plan.changes if change.action == "delete"}
    going = [manifest for manifest in manifests if reference(manifest) in planned]
    for manifest in going:
        metadata = manifest["metadata"]
        context.cluster.delete(
            manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace")
        )
    for manifest in going:
        wait_until_gone(context, manifest, timeout=timeout)


def wait_until_gone(context: Context, manifest: Object, *, timeout: float) -> None:
    """Wait until an object that was deleted is gone.

    Raises:
        WaitTimeout: It is still there; the error names the finalizers that hold it.
    """
    if live_object(context.cluster, manifest) is None:
        return
    metadata = manifest["metadata"]
    context.cluster.watch_until(
        f"{reference(manifest)} to be gone",
        manifest["apiVersion"],
        manifest["kind"],
        metadata.get("namespace"),
        _is_gone,
        name=metadata["name"],
        timeout=timeout,
        on_change=context.waiting,
    )


def in_place(context: Context, manifest: Object) -> bool:
    """Whether applying the manifest would change nothing."""
    return _compare(context, manifest)[0].action == "none"


def check(context: Context, manifest: Object) -> Check:
    """Look whether an object is as planned; if not, who else has set fields of it, and when."""
    subject = reference(manifest)
    if in_place(context, manifest):
        return Check(subject, "as planned", ok=True)
    found = live_object(context.cluster, manifest)
    if found is None:
        return Check(subject, "missing", ok=False)
    desired = context.cluster.apply(manifest, dry_run=True, force=True)
    changed = "; ".join(map(str, authors(found, normalise(found), normalise(desired))))
    return Check(subject, changed or "changed", ok=False)


def own_namespace(context: Context, manifest: Object) -> list[Object]:
    """Return a namespace's manifest if it is missing, or the runbook's own and not as it says.

    One of others is used as it is: marked as the runbook's own, it would go with a rollback. Nor is
    anything applied that is there already: who may run a chapter need not change namespaces.
    """
    found = live_object(context.cluster, manifest)
    if found is None:
        return [manifest]
    complete = annotations_of(manifest).items() <= annotations_of(found).items()
    return [manifest] if ownership.is_own(found) and not complete else []


def _is_gone(found: list[Object]) -> State:
    if not found:
        return State(True, "gone")
    metadata, status = found[0]["metadata"], found[0].get("status") or {}
    held = [*metadata.get("finalizers", []), *(found[0].get("spec") or {}).get("finalizers", [])]
    reasons = [
        c["message"]
        for c in status.get("conditions") or []
        if c.get("status") == "True" and c.get("message") and c["type"].endswith("Remaining")
    ]
    return State(False, "; ".join([f"held by {', '.join(held) or 'nothing any more'}", *reasons]))


def _refuse_others(context: Context, manifest: Object) -> None:
    found = live_object(context.cluster, manifest)
    if found is None or ownership.is_own(found):
        return
    name, where = name_of(manifest), manifest["metadata"].get("namespace")
    raise Refused(
        Finding(
            reference(found),
            f"it is there already, made by {ownership.makers(found)}",
            "this step would add to it, and so change what it means",
            "give the runbook's own object another name in the parameters; or ask its owner to "
            f"delete it: kubectl --namespace {where} delete {manifest['kind'].lower()} {name}",
        )
    )


def _refuse_leaving_namespaces(context: Context, manifests: Sequence[Object]) -> None:
    """Refuse early what could not be created: the API server refuses it half-way through."""
    names = (manifest["metadata"].get("namespace") for manifest in manifests)
    for name in dict.fromkeys(filter(None, names)):
        require(preflight.namespace(context, name))


def _compare(context: Context, manifest: Object) -> tuple[ObjectDiff, str]:
    """Return the difference, and what about it cannot be known yet."""
    try:
        current = live_object(context.cluster, manifest)
        if current is not None and (leaving := preflight.deletion(current)) is not None:
            raise Refused(leaving)
        desired = context.cluster.apply(manifest, dry_run=True, force=context.comparing)
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
