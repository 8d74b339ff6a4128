"""The control plane before the upgrade: it goes when no proxy of the cluster uses it any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from runbook_lib.base import CommandError
from runbook_lib.chapters.shared import observe, preflight
from runbook_lib.chapters.shared.release import removal
from runbook_lib.chapters.shared.release.istio import base_release, istiod_release
from runbook_lib.chapters.upgrade import course, gate, proof
from runbook_lib.chapters.upgrade.moving import IN_PLACE
from runbook_lib.cluster import (
    REVISION_LABEL,
    labels_of,
    name_of,
    namespace_of,
    reference,
)
from runbook_lib.lifecycle import (
    Check,
    Context,
    Finding,
    Plan,
    Severity,
    Step,
    Verification,
    require,
    table,
)
from runbook_lib.mesh import revisions
from runbook_lib.parameters import Parameters


class RemoveOld(Step):
    """Uninstall the istiod from before the upgrade, and have the new one asked in its place."""

    name = "upgrade-old"
    title = "Remove the istiod from before the upgrade"
    why = "two control planes cost twice, and both would have to be kept up to date"
    takes = "seconds"
    risk = "none: it is refused while any proxy, pod or namespace of the cluster still uses it"
    undo = "none as a step: install the older version again beside this one"

    def __init__(self, parameters: Parameters) -> None:
        upgraded = course.upgraded(parameters)
        self._istiod = istiod_release(parameters)
        self._base = base_release(upgraded, default_revision=upgraded.istio.revision)

    def obstacles(self, context: Context) -> Iterator[Finding]:
        """Say what will be in the way and no earlier step moves: what is in other namespaces."""
        if context.parameters.upgrade.to is None or _in_place(context):
            return
        own = context.parameters.application.namespace
        for each in _users(context, besides=own):
            yield replace(each, severity=Severity.NOTE)

    def plan(self, context: Context) -> Plan:
        """Plan the removal; nothing in place, or where it is gone.

        Raises:
            Refused: It is used, or whether it is cannot be told.
        """
        uid = context.target.uid
        if context.parameters.upgrade.to is None:
            return Plan(self.name, uid, note=course.NOTHING)
        if _in_place(context):
            return Plan(self.name, uid, note=IN_PLACE)
        require(gate.in_the_way(context))
        users = list(_users(context))
        if context.parameters.mode == "apply":
            require(users)
        base = self._base.changes(course.beyond(context))
        istiod, stays = self._istiod.removal(context)
        changes = (*base, *([istiod] if istiod else []))
        # In plan mode the steps before have not been applied, so what they mend is only noted.
        unknown = tuple(f"whether it will be unused: {each.text}" for each in users)
        return Plan(self.name, uid, changes, unknown, stays if changes or stays else _GONE)

    def apply(self, context: Context, plan: Plan) -> None:
        """Have the new istiod asked about Istio's objects, then uninstall the old one."""
        old = course.standing(context)
        self._base.apply(course.beyond(context), plan)
        self._istiod.uninstall(context, plan)
        if old is not None and self._istiod.check_removed(context).ok:
            removal.wait_until_gone(context, course.revision_of(old))

    def verify(self, context: Context) -> Verification:
        """Prove that it is gone, that nothing calls it, and that all goes on with the new one."""
        if context.parameters.upgrade.to is None:
            return Verification(self.name, note=course.NOTHING)
        if _in_place(context):
            return Verification(self.name, note=IN_PLACE)
        beyond = course.beyond(context)
        gone = self._istiod.check_removed(context)
        checks = [gone, self._base.check(beyond)]
        if gone.ok:
            hooks = removal.webhooks_calling_none(context)
            checks.append(Check("webhooks that call it", ", ".join(hooks) or "none", not hooks))
        tables = (
            table.of_checks("The istiod from before", checks),
            proof.of_sidecars(beyond, beyond.parameters.istio.version),
            observe.prove_traffic(context),
        )
        return Verification(self.name, tables)


_GONE = "It is gone."


def _in_place(context: Context) -> bool:
    return context.parameters.upgrade.strategy == "in-place"


def _users(context: Context, *, besides: str = "") -> Iterator[Finding]:
    """Find what still uses the old istiod: proxies as it knows them, pods, and namespaces.

    Args:
        context: Where to look.
        besides: A namespace that is left out.
    """
    old = course.standing(context)
    if old is None:
        return
    where, revision = reference(old), course.revision_of(old)
    try:
        proxies = [each.pod for each in context.istioctl.proxies(revision)]
    except CommandError as error:
        yield Finding(
            where,
            f"which proxies are connected to it cannot be told: {error.cause.splitlines()[0]}",
            "one that still is would lose its certificate within 24 hours",
            f"see why: istioctl proxy-status --revision {revision}",
        )
        return
    if left := [each for each in proxies if each.partition(".")[2] != besides]:
        yield Finding(
            where,
            f"proxies are connected to it: {preflight.few(left)}",
            "without it they would lose their certificates within 24 hours",
            "have their namespaces ask for the new revision, and restart their workloads",
        )
    if stranded := [
        each
        for each in revisions.pods_of(context.cluster, revision)
        if namespace_of(each) != besides
    ]:
        names = [f"{namespace_of(each)}/{name_of(each)}" for each in stranded]
        yield Finding(
            where,
            f"pods have sidecars of its revision {revision}: {preflight.few(names)}",
            "without it they would lose their certificates within 24 hours",
            "restart their workloads, once their namespaces ask for the new revision",
        )
    tags = revisions.tags(context.cluster)
    asking = [
        name_of(each)
        for each in context.cluster.list("v1", "Namespace")
        if name_of(each) != besides and revisions.asked_for(labels_of(each), tags) == revision
    ]
    if asking:
        yield Finding(
            where,
            f"namespaces ask for its revision {revision}: {preflight.few(asking)}",
            "their new pods would get no sidecar",
            f"label them: {REVISION_LABEL}={context.parameters.upgrade.tag}",
        )
