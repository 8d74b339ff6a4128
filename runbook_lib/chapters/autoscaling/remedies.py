"""Remedies for autoscalers that sidecars make late: what to apply to which object, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence

from runbook_lib.chapters.autoscaling import autoscalers
from runbook_lib.chapters.autoscaling import handover as autoscaler_handover
from runbook_lib.chapters.autoscaling import trial as autoscaler_trial
from runbook_lib.chapters.autoscaling.autoscalers import METRICS_BEFORE
from runbook_lib.chapters.autoscaling.scale_out import (
    Remedy,
    Scaling,
    Shift,
    amount,
    compare,
    desired,
    mended,
    words,
)
from runbook_lib.cluster import (
    APPS,
    FIELD_MANAGER,
    WORKLOADS,
    Object,
    annotations_of,
    authors,
    live_object,
    merged,
    object_diff,
    place_of,
    reference,
    without_fields,
)
from runbook_lib.lifecycle import Change, Check, Context, Finding, Interruption, require
from runbook_lib.mesh import of_replacement, rollout

SIDECAR_MANAGER = f"{FIELD_MANAGER}-sidecar-requests"
"""Owns the annotations of pod templates that make sidecars request less, and nothing else."""

IN_THE_CHART = (
    "unless its chart states these metrics first (they are in patches/autoscaling-remedy.yaml of "
    "istio-runbook export FOLDER)"
)
"""How what Helm installs and what the runbook changes come to agree."""

_OTHER_REMEDY = "autoscaling.remedy: container-resource"
"""What looks at no sidecar, and so has none of these obstacles."""


def manifests(context: Context, remedy: Remedy) -> Iterator[tuple[Object, Object]]:
    """Yield the autoscalers that need a remedy: as they are, and what to apply to them."""
    for live in autoscalers.objects(context):
        judged = autoscalers.judge(context, live)
        if not any(scaling.needs_remedy for scaling in judged):
            continue
        metrics, kept = live["spec"]["metrics"], autoscalers.metrics_before(live)
        manifest = without_fields(live)
        # Of metrics that an earlier remedy replaced, what was there before it stays what is kept.
        before = json.dumps(desired(metrics, kept), sort_keys=True)
        manifest["metadata"]["annotations"] = {METRICS_BEFORE: before}
        manifest["spec"] = {"metrics": mended(metrics, kept, judged, remedy)}
        yield live, manifest


def take_over(context: Context, live: Object, manifest: Object) -> Change:
    """Return the change of an autoscaler's metrics, with what it means for who manages them."""
    diff = object_diff(live, context.cluster.apply(manifest, dry_run=True, force=True))
    first = autoscalers.made_through_v1(live)
    sentences = [
        f"Takes over spec.metrics from {manager}"
        f"{'' if first else f': {_consequence(manager, operation)}'}."
        for manager, operation in autoscalers.other_managers(live)
    ]
    if first:
        sentences.append(
            "It was written as autoscaling/v1, which knows no metric but a percentage of the whole "
            "pod: applying that file again puts it next to the new metric, and the lower point "
            "counts. Write it as autoscaling/v2."
        )
    text = "\n".join([*sentences, *diff.lines])
    digest = hashlib.sha256(f"{diff.digest}\n{text}".encode()).hexdigest()
    return Change(diff.ref, "change", text, digest)


def _consequence(manager: str, operation: str) -> str:
    act, source = f"the next change by {manager}", "what it applies changes"
    if manager == "helm" and operation == "Apply":
        return (
            "the next helm upgrade stops at a conflict over .spec.metrics, half-way and with the "
            f"release marked as failed, {IN_THE_CHART}; or it is given --force-conflicts, which "
            "sets them back"
        )
    if manager == "helm":
        return f"the next helm upgrade sets them back {IN_THE_CHART}"
    if manager.startswith("kubectl"):
        act, source = "applying its file again", "the file changes"
    # An update overwrites; a server-side apply meets a conflict with the new manager.
    does = "stops at a conflict with it" if operation == "Apply" else "sets it back"
    return f"{act} {does} unless {source}"


def set_back(context: Context, remedy: Remedy) -> tuple[Check, ...]:
    """Return the autoscalers that were mended and are not any more: who did that, and when."""
    return tuple(
        Check(
            reference(live),
            "; ".join(
                map(str, authors(live, {"spec": {"metrics": live["spec"]["metrics"]}}, part))
            ),
            ok=False,
        )
        for live, manifest in manifests(context, remedy)
        if METRICS_BEFORE in annotations_of(live) and not autoscalers.managed_by_runbook(live)
        for part in [{"spec": manifest["spec"]}]
    )


def templates(context: Context) -> list[Object]:
    """Return what to apply to the workloads whose autoscalers need a remedy.

    Raises:
        Refused: It would not help, or cannot be done.
    """
    found: dict[str, Object] = {}
    obstacles: list[Finding] = []
    for live in autoscalers.objects(context):
        needing = [s for s in autoscalers.judge(context, live) if s.needs_remedy]
        if not needing:
            continue
        target = autoscalers.target_of(context, live)
        assert target is not None, "a point was computed from it"
        obstacles += (*_unmended(context, live, needing), *_unreplaced(live, target))
        manifest = _annotating(context, target)
        found[reference(manifest)] = manifest
    require(obstacles)
    return list(found.values())


def exported(context: Context, remedy: Remedy) -> Iterator[Object]:
    """Yield what the remedy leaves: on autoscalers, or on their workloads' pod templates.

    Whoever applied it, and also before it is applied.
    """
    if remedy is not Remedy.SIDECAR_REQUESTS:
        needing = {reference(live): manifest for live, manifest in manifests(context, remedy)}
        for live in autoscalers.objects(context):
            if reference(live) in needing:
                yield needing[reference(live)]
            elif autoscalers.metrics_before(live):
                kept = {METRICS_BEFORE: annotations_of(live)[METRICS_BEFORE]}
                manifest = merged(without_fields(live), {"metadata": {"annotations": kept}})
                yield {**manifest, "spec": {"metrics": live["spec"]["metrics"]}}
        return
    found = {reference(manifest): manifest for manifest in templates(context)}
    for live in autoscalers.objects(context):
        target = autoscalers.target_of(context, live)
        if target is not None and target["kind"] in WORKLOADS:
            manifest = _annotating(context, target)
            given = annotations_of(manifest["spec"]["template"]).items()
            if annotations_of(target["spec"]["template"]).items() >= given:
                found[reference(manifest)] = manifest
    yield from found.values()


def _annotating(context: Context, target: Object) -> Object:
    """Return what to apply to a workload for its pods' sidecars to request less."""
    proxy = context.parameters.autoscaling.proxy
    annotations = {
        "sidecar.istio.io/proxyCPU": proxy.cpu,
        "sidecar.istio.io/proxyMemory": proxy.memory,
        "sidecar.istio.io/proxyCPULimit": proxy.cpu_limit,
        "sidecar.istio.io/proxyMemoryLimit": proxy.memory_limit,
    }
    spec = {"template": {"metadata": {"annotations": annotations}}}
    return {**without_fields(target), "spec": spec}


def _unreplaced(live: Object, target: Object) -> Iterator[Finding]:
    """Find why an autoscaler's pods would not be replaced by ones with a smaller sidecar."""
    if target["kind"] in WORKLOADS:
        yield from rollout.held(target)
        return
    yield Finding(
        reference(live),
        f"it scales a {target['kind']}, whose pods the runbook cannot replace",
        "its pods would keep the sidecars that they have",
        "have another remedy",
        parameter=_OTHER_REMEDY,
    )


def _unmended(context: Context, live: Object, needing: Sequence[Scaling]) -> Iterator[Finding]:
    """Find why smaller requests of the sidecar are not enough."""
    for scaling in needing:
        if not scaling.relative_to_pod:
            yield Finding(
                reference(live),
                f"it decides by {', '.join(m.text for m in scaling.metrics)}, an earlier remedy "
                "that is out of date",
                "smaller requests of the sidecar would not change it",
                "renew that remedy",
                parameter=_OTHER_REMEDY,
            )
            continue
        given = getattr(context.parameters.autoscaling.proxy, scaling.resource)
        point = scaling.after(Remedy.SIDECAR_REQUESTS, amount(scaling.resource, given))
        assert scaling.before is not None, "what is unknown needs no remedy"
        if compare(point, scaling.before) is Shift.MOVED:
            resource = scaling.resource
            yield Finding(
                reference(live),
                f"it would scale out above {words(resource, point)} {resource} with smaller "
                f"requests of the sidecar, and did above {words(resource, scaling.before)}",
                "that is not near enough",
                f"make autoscaling.proxy.{resource} smaller",
                parameter=_OTHER_REMEDY,
            )


def template_changes(context: Context) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """Return the changes of `templates`, and what cannot be known about the pods.

    Those that carry the annotations already do not change.

    Raises:
        Refused: As for `templates`, or the API server would refuse the new pods.
    """
    changes, unknown = [], []
    for manifest in templates(context):
        there = live_object(context.cluster, manifest)
        changed = context.cluster.apply(manifest, dry_run=True, manager=SIDECAR_MANAGER)
        diff = object_diff(there, changed)
        if there is None or diff.action == "none":
            continue
        changes.append(Change.of_object(diff))
        unknown.append(autoscaler_trial.require_accepted(context, there, changed))
    return tuple(changes), tuple(filter(None, unknown))


def interruptions(context: Context, changes: Iterable[Change]) -> tuple[Interruption, ...]:
    """Return what users lose while templates change: their pods are replaced."""
    changed = {change.ref for change in changes}
    application = context.parameters.application
    found = (
        context.cluster.get(APPS, kind, name, application.namespace)
        for kind, name in application.workloads
    )
    return tuple(
        each
        for workload in found
        if workload is not None and reference(workload) in changed
        for each in of_replacement(context, workload)
    )


def annotated(context: Context) -> list[Object]:
    """Return the autoscalers' workloads whose templates carry the annotations."""
    targets = [autoscalers.target_of(context, each) for each in autoscalers.objects(context)]
    return [
        without_fields(target)
        for target in targets
        if target is not None
        and any(
            entry["manager"] == SIDECAR_MANAGER
            for entry in target["metadata"].get("managedFields") or []
        )
    ]


def wait_for_rollout(context: Context, manifest: Object) -> None:
    """Wait until a workload's pods have its newest template.

    Raises:
        WaitTimeout: They do not in time.
    """
    rollout.wait_until_complete(context, *place_of(manifest))


def restore_changes(context: Context) -> tuple[Change, ...]:
    """Return what `restore` would change: nothing where no remedy is in place."""
    diffs = [
        object_diff(
            live, context.cluster.apply(manifest, dry_run=True, force=True, manager=manager)
        )
        for live, manifest, manager in _restorations(context)
    ]
    return tuple(Change.of_object(diff) for diff in diffs if diff.action != "none")


def restore(context: Context, planned: Collection[str]) -> None:
    """Take remedies back, and wait until workloads whose template changed are complete.

    Autoscalers get the metrics that their annotation keeps, and lose the annotation. The metrics
    have no owner then, so whoever wrote them can change them without a conflict. Where somebody
    else has set the metrics since, theirs stay. Pod templates lose the annotations.

    Args:
        context: Where.
        planned: The objects to restore, as `restore_changes` names them.

    Raises:
        WaitTimeout: A workload is not complete in time.
    """
    for live, manifest, manager in _restorations(context):
        if reference(live) not in planned:
            continue
        if "spec" in manifest:
            autoscaler_handover.give_back(context, live, manifest)
            continue
        context.cluster.apply(manifest, force=True, manager=manager)
        if manager == SIDECAR_MANAGER:
            wait_for_rollout(context, manifest)


def _restorations(context: Context) -> Iterator[tuple[Object, Object, str]]:
    """Yield objects with a remedy, what to apply to them, and as which manager."""
    for live in autoscalers.objects(context):
        before = autoscalers.metrics_before(live)
        if not before:
            continue
        manifest = without_fields(live)
        if autoscalers.managed_by_runbook(live):
            manifest["spec"] = {"metrics": before}
        yield live, manifest, FIELD_MANAGER
    for manifest in annotated(context):
        found = live_object(context.cluster, manifest)
        if found is not None:
            # An apply without the annotations gives them up, and no one else owns them.
            yield found, manifest, SIDECAR_MANAGER
