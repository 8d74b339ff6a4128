"""Leave a canary: the namespace asks for the istiod from before again, and the newer one goes."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.base import CommandError
from runbook_lib.chapters.shared import objects, preflight
from runbook_lib.chapters.shared.release import removal
from runbook_lib.chapters.shared.release.istio import istiod_release, tag_webhook
from runbook_lib.chapters.shared.sidecars import labelled_namespace
from runbook_lib.chapters.upgrade import course, moving, proof
from runbook_lib.chapters.upgrade.returning import (
    NOTHING,
    TakeUpgradeBack,
    version_before,
)
from runbook_lib.cluster import Object
from runbook_lib.lifecycle import Check, Context, Finding, Plan, Verification, table
from runbook_lib.parameters import Parameters


class LeaveCanary(TakeUpgradeBack):
    """Take the steps of a canary back in reverse: namespace, sidecars, istiod, kinds."""

    def __init__(self, parameters: Parameters) -> None:
        """Nothing is looked at yet.

        Args:
            parameters: They say what was there before, and what the canary is.
        """
        super().__init__(parameters)
        self._canary = istiod_release(course.upgraded(parameters))

    def plan_removal(self, context: Context) -> Plan:
        """Plan what goes back; nothing where the istiod from before is gone."""
        uid, old = context.target.uid, course.standing(context)
        if context.parameters.upgrade.to is None:
            return Plan(self.name, uid, note=NOTHING)
        if old is None:
            return Plan(self.name, uid)
        namespace = labelled_namespace(context.parameters)
        command = moving.by_hand(context, namespace)
        kept, dropped = _tags(context, old)
        back = objects.plan_objects(context, self.name, [*kept, *([] if command else [namespace])])
        gone = objects.plan_deletion(context, self.name, dropped)
        restart = self._restart.plan(context)
        canary, stays = self._canary.removal(course.beyond(context))
        changes = (
            *back.changes,
            *restart.changes,
            *([canary] if canary else []),
            *gone.changes,
            *self._base.changes(context),
        )
        by_hand = moving.OF_OTHERS.format(command=command) if command else ""
        notes = filter(None, [by_hand, restart.note, stays, gone.note])
        return Plan(
            self.name, uid, changes, note=" ".join(notes), interruptions=restart.interruptions
        )

    def dangers(self, context: Context, plan: Plan) -> Iterator[Finding]:  # noqa: ARG002
        """Find that there is nothing to go back to, or that others use the canary."""
        if context.parameters.upgrade.to is None:
            return
        if course.standing(context) is None:
            if course.has_moved(context):
                yield _nothing_before(context)
            return
        beyond = course.beyond(context)
        if beyond.parameters.istio.istiod.release in course.releases(context):
            yield from _others(beyond)

    def remove(self, context: Context, plan: Plan) -> None:
        """Let the namespace ask for the old istiod, restart, and remove the canary."""
        old = course.standing(context)
        if old is None or plan.empty:
            return
        kept, dropped = _tags(context, old)
        objects.apply_objects(context, plan, kept)
        moving.label(context, plan, labelled_namespace(context.parameters))
        moving.wait_for_revision(context, course.revision_of(old))
        self._restart.apply(context, plan)
        beyond = course.beyond(context)
        objects.delete_objects(context, plan, dropped, timeout=context.parameters.timeouts.istiod)
        self._canary.uninstall(beyond, plan)
        if self._canary.check_removed(beyond).ok:
            removal.wait_until_gone(context, beyond.parameters.istio.revision)
        self._base.apply(context, plan)

    def verify_removal(self, context: Context) -> Verification:
        """Prove that the canary is gone, and that the old istiod has every sidecar."""
        old = course.standing(context)
        if context.parameters.upgrade.to is None or old is None:
            return Verification(self.name, note=NOTHING)
        revision = course.revision_of(old)
        hooks = removal.webhooks_calling_none(context)
        checks = [
            self._canary.check_removed(course.beyond(context)),
            self._base.check(context),
            moving.revision_check(context, revision),
            Check("webhooks that call it", ", ".join(hooks) or "none", not hooks),
        ]
        tables = (
            table.of_checks("The canary", checks),
            proof.of_sidecars(moving.asking_by(context, revision), version_before(context)),
            self.traffic(context),
        )
        return Verification(self.name, tables)


def _tags(context: Context, old: Object) -> tuple[list[Object], list[Object]]:
    """Return the tag as it is to be, if the namespace asked by it before; else as it is to go."""
    parameters = moving.asking_by(context, course.revision_of(old)).parameters
    tag = parameters.upgrade.tag
    webhook = tag_webhook(context, parameters, tag)
    return ([webhook], []) if context.parameters.istio.revision == tag else ([], [webhook])


def _nothing_before(context: Context) -> Finding:
    istio = course.upgraded(context.parameters).istio
    return Finding(
        f"Helm release {istio.namespace}/{context.parameters.istio.istiod.release}",
        "the istiod from before the upgrade has been removed",
        "there is nothing to go back to",
        f"let the parameters say what is there: istio.version: {istio.version}, istio.revision: "
        f"{context.parameters.upgrade.tag}, istio.istiod.release: {istio.istiod.release}, and no "
        "upgrade.to",
    )


def _others(beyond: Context) -> Iterator[Finding]:
    """Find proxies of other namespaces that follow the canary."""
    revision, own = beyond.parameters.istio.revision, beyond.parameters.application.namespace
    where = f"istiod of revision {revision}"
    try:
        found = [each.pod for each in course.connected(beyond, revision)]
    except CommandError as error:
        yield Finding(
            where,
            f"which proxies it has cannot be told: {error.cause.splitlines()[0]}",
            "those of other namespaces would lose their certificates within 24 hours",
            f"see why: istioctl proxy-status --revision {revision}",
        )
        return
    if others := [each for each in found if each.partition(".")[2] != own]:
        yield Finding(
            where,
            f"proxies of other namespaces are connected to it: {preflight.few(others)}",
            "without it they would lose their certificates within 24 hours",
            "have their namespaces ask for the other revision, and restart their workloads",
        )
