"""Take Istio itself back: istiod, then the chart with its kinds."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.chapters.shared import RollbackStep, objects, preflight
from runbook_lib.chapters.shared.release import istio as istio_releases
from runbook_lib.chapters.shared.release import removal
from runbook_lib.cluster import (
    ADMISSION,
    REVISION_LABEL,
    TAG_LABEL,
    Object,
    labels_of,
    name_of,
    namespace_of,
    reference,
)
from runbook_lib.lifecycle import Check, Context, Finding, Plan, Verification, table
from runbook_lib.mesh import injection, revisions
from runbook_lib.parameters import Parameters


class _UninstallIstio(RollbackStep):
    """Uninstall the releases istiod and istio-base, in this order."""

    name = "rollback-istio"
    chapter = "01_install_istio"
    title = "Uninstall istiod, then istio-base"
    why = "without sidecars a control plane has nothing to do"
    takes = "seconds"
    risk = "a sidecar that is left loses its certificate within 24 hours; so with one it is refused"
    undo = "run 01_install_istio again"

    def __init__(self, parameters: Parameters) -> None:
        super().__init__()
        self._istiod = istio_releases.istiod_release(parameters)
        self._base = istio_releases.base_release(parameters)

    def plan_removal(self, context: Context) -> Plan:
        istiod, istiod_stays = self._istiod.removal(context)
        base, base_stays = self._base.removal(context)
        if base is not None and (why := _needed_by(context) or (istiod_stays and "istiod")):
            base, base_stays = None, f"{self._base.ref} stays: {why} needs its kinds."
        tags = objects.plan_deletion(context, self.name, _tags(context) if istiod else [])
        releases = tuple(change for change in (istiod, base) if change is not None)
        notes = " ".join(filter(None, [istiod_stays, base_stays, tags.note]))
        return Plan(self.name, context.target.uid, (*tags.changes, *releases), note=notes)

    def dangers(self, context: Context, plan: Plan) -> Iterator[Finding]:
        if self._istiod.ref not in {change.ref for change in plan.changes}:
            return
        if left := _pods_with_sidecars(context):
            yield Finding(
                self._istiod.ref,
                f"pods have sidecars of it: {preflight.few(left)}",
                "they would lose their certificates within 24 hours",
                "run the step before; restart workloads of other namespaces after removing their "
                "label",
            )

    def remove(self, context: Context, plan: Plan) -> None:
        revision = _resolved(context).istio.revision
        timeout = context.parameters.timeouts.istiod
        objects.delete_objects(context, plan, _tags(context), timeout=timeout)
        self._istiod.uninstall(context, plan)
        if self._istiod.check_removed(context).ok:
            removal.wait_until_gone(context, revision)
        self._base.uninstall(context, plan)

    def verify_removal(self, context: Context) -> Verification:
        releases = [self._istiod.check_removed(context), self._base.check_removed(context)]
        if needed_by := _needed_by(context):
            # After a canary the parameters may still name the istiod from before it.
            releases[1] = Check(self._base.ref, f"stays: {needed_by} needs its kinds", None)
        checks = list(releases)
        others = [found.where for found in preflight.control_plane(context)]
        if others:
            checks.append(Check("control plane", f"stays: {', '.join(others)} is of others", None))
        elif releases[0].ok:
            hooks = removal.webhooks_calling_none(context)
            checks.append(Check("webhooks that call istiod", ", ".join(hooks) or "none", not hooks))
            # The API server asks webhooks for this dry run: one that is left would refuse it.
            checks.append(injection.check_new_pod(context, injected=False))
        return Verification(self.name, (table.of_checks("Istio", checks),))


def steps(parameters: Parameters) -> tuple[RollbackStep, ...]:
    """The step that takes Istio itself back."""
    return (_UninstallIstio(parameters),)


def _needed_by(context: Context) -> str:
    """Name the istiods besides the one that goes: they need the kinds and the default webhook."""
    return ", ".join(map(reference, preflight.istiods_of_others(context)))


def _resolved(context: Context) -> Parameters:
    return revisions.of_cluster(context.cluster, context.parameters)


def _tags(context: Context) -> list[Object]:
    """Return the webhooks of tags that name the revision: they would call an istiod that is gone.

    An upgrade makes them; they are in no release.
    """
    revision = _resolved(context).istio.revision
    found = context.cluster.list(ADMISSION, "MutatingWebhookConfiguration")
    return [
        item
        for item in found
        if TAG_LABEL in labels_of(item) and labels_of(item).get(REVISION_LABEL) == revision
    ]


def _pods_with_sidecars(context: Context) -> list[str]:
    """Return the pods of all namespaces that would be stranded: those of this control plane."""
    found = revisions.pods_of(context.cluster, _resolved(context).istio.revision)
    return sorted(f"{namespace_of(pod)}/{name_of(pod)}" for pod in found)
