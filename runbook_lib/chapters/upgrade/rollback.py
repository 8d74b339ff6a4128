"""Take an upgrade back: the control plane, then the sidecars, which must not be newer than it."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.chapters.shared import RollbackStep, kept
from runbook_lib.chapters.shared.release.control_plane import InstallIstiod
from runbook_lib.chapters.shared.release.istio import base_release, istiod_release
from runbook_lib.chapters.shared.sidecars import RestartWorkloads
from runbook_lib.chapters.upgrade import course, proof
from runbook_lib.cluster import Object, pods, reference
from runbook_lib.lifecycle import Context, Finding, Plan, Verification, table
from runbook_lib.mesh import injection
from runbook_lib.parameters import Parameters

_NOTHING = "No upgrade to take back: upgrade.to names no version."
_AS_A_WHOLE = "Istio goes as a whole, so its upgrade is not taken back first."
_ISTIO = "01_install_istio"


class _RestartBack(RestartWorkloads):
    """Replace sidecars that are newer than the istiod that comes back."""

    reason = "istio-runbook: an upgrade of Istio is taken back"

    def __init__(self, parameters: Parameters) -> None:
        self._istiod = istiod_release(parameters)

    def newest_image(self, context: Context, workload: Object) -> str:  # noqa: ARG002
        """Return what istiod will inject once it is back."""
        return injection.sidecar_image(self._istiod.rendered(context))


class _TakeUpgradeBack(RollbackStep):
    """Go back to the version of `istio.version`."""

    name = "rollback-upgrade"
    chapter = "08_upgrade"
    title = "Go back to the version of Istio from before the upgrade"
    why = "istiod goes first, because only it injects older sidecars; these follow at once"
    takes = "a minute, and as long as each workload needs to start, one after the other"
    risk = "each workload is away while its pods are replaced, unless it has several"
    undo = "run 08_upgrade again"

    def __init__(self, parameters: Parameters) -> None:
        super().__init__()
        self._base = base_release(parameters, goes_back=True)
        self._release = istiod_release(parameters, goes_back=True)
        self._istiod = InstallIstiod(self._release)
        self._restart = _RestartBack(parameters)

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
        istiod, before = course.standing(context), _version(context)
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
            proof.of_sidecars(context, _version(context)),
            self.traffic(context),
        )
        return Verification(self.name, tables)


def steps(parameters: Parameters) -> tuple[RollbackStep, ...]:
    """The step that takes an upgrade back."""
    return (_TakeUpgradeBack(parameters),)


def _why_not(context: Context) -> str:
    """Say why there is no upgrade to take back; empty if there may be one."""
    if context.parameters.upgrade.to is None:
        return _NOTHING
    return "" if kept(context, _ISTIO) else _AS_A_WHOLE


def _version(context: Context) -> str | None:
    return context.target.istio_version or context.parameters.istio.version
