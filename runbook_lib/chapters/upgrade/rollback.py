"""Take an upgrade back: in place istiod, sidecars, kinds; after a canary see `leaving`."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.chapters.shared import RollbackStep
from runbook_lib.chapters.shared.release.control_plane import InstallIstiod
from runbook_lib.chapters.shared.release.istio import istiod_release
from runbook_lib.chapters.upgrade import course, proof
from runbook_lib.chapters.upgrade.leaving import LeaveCanary
from runbook_lib.chapters.upgrade.returning import (
    NOTHING,
    TakeUpgradeBack,
    istio_stays,
    version_before,
)
from runbook_lib.cluster import pods, reference
from runbook_lib.lifecycle import Context, Finding, Plan, Verification, table
from runbook_lib.parameters import Parameters

_AS_A_WHOLE = "Istio goes as a whole, so its upgrade is not taken back first."


class _GoBackInPlace(TakeUpgradeBack):
    """Put the older istiod in the place of the newer one."""

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._release = istiod_release(parameters, goes_back=True)
        self._istiod = InstallIstiod(self._release)

    def plan_removal(self, context: Context) -> Plan:
        if why := _why_not(context):
            return Plan(self.name, context.target.uid, note=why)
        releases = (*self._release.changes(context), *self._base.changes(context))
        restart = self._restart.plan(context)
        return Plan(
            self.name,
            context.target.uid,
            (*releases, *restart.changes),
            note=restart.note,
            interruptions=restart.interruptions,
        )

    def dangers(self, context: Context, plan: Plan) -> Iterator[Finding]:
        if plan.empty:
            return
        istiod, before = course.standing(context), version_before(context)
        have = course.version_of(context, course.revision_of(istiod)) if istiod else None
        old, new = pods.minor_of(before or ""), pods.minor_of(have or "")
        if old is None or new is None or old[0] != new[0] or new[1] - old[1] > 1:
            yield Finding(
                reference(istiod) if istiod else self._release.ref,
                f"it is of Istio {have or 'unknown'}, and istio.version says {before or 'nothing'}",
                "meanwhile its sidecars are newer than it, and over one minor version at most",
                "give istio.version the version from before the upgrade",
                parameter="istio.version",
            )

    def remove(self, context: Context, plan: Plan) -> None:
        self._istiod.apply(context, plan)
        self._restart.apply(context, plan)
        self._base.apply(context, plan)

    def verify_removal(self, context: Context) -> Verification:
        if why := _why_not(context):
            return Verification(self.name, note=why)
        checks = [self._release.check(context), self._base.check(context)]
        tables = (
            table.of_checks("Istio", checks),
            proof.of_sidecars(context, version_before(context)),
            self.traffic(context),
        )
        return Verification(self.name, tables)


def steps(parameters: Parameters) -> tuple[RollbackStep, ...]:
    """The step that takes an upgrade back."""
    canary = parameters.upgrade.strategy == "canary"
    return (LeaveCanary(parameters) if canary else _GoBackInPlace(parameters),)


def _why_not(context: Context) -> str:
    """Say why there is no upgrade to take back; empty if there may be one."""
    if context.parameters.upgrade.to is None:
        return NOTHING
    return "" if istio_stays(context) else _AS_A_WHOLE
