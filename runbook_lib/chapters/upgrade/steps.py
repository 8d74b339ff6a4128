"""The upgrade: kinds, control plane, one pod to try, the sidecars, and what is left over then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from runbook_lib.chapters.shared.release import ReleasePlanner
from runbook_lib.chapters.shared.release.control_plane import InstallBase, InstallIstiod
from runbook_lib.chapters.shared.release.istio import base_release, istiod_release
from runbook_lib.chapters.shared.sidecars import RestartWorkloads, TryOnePod
from runbook_lib.chapters.upgrade import course, gate, proof
from runbook_lib.chapters.upgrade.moving import MoveNamespace
from runbook_lib.chapters.upgrade.old import RemoveOld
from runbook_lib.cluster import Object
from runbook_lib.lifecycle import Check, Context, Finding, Plan, Step, Verification, require
from runbook_lib.mesh import injection
from runbook_lib.parameters import Parameters


class _UpgradeBase(InstallBase):
    name = "upgrade-base"
    title = "Upgrade istio-base"
    why = "a newer istiod knows kinds and fields that the API server has to know before it"
    risk = "none for the application: what is stored stays valid, and nothing runs"
    undo = "notebook 90 with rollback.keep: 06_kiali"
    version_parameter = "upgrade.to"

    def __init__(self, before: Parameters, upgraded: Parameters) -> None:
        super().__init__(base_release(upgraded))
        revision = upgraded.istio.revision
        self._moved = base_release(upgraded, default_revision=revision)
        self._releases = before.istio.istiod.release, upgraded.istio.istiod.release

    def release(self, context: Context) -> ReleasePlanner:
        """Return the release; once a canary's istiod is alone, as its last step leaves it."""
        old, new = self._releases
        found = course.releases(context)
        return self._moved if new in found and old not in found else super().release(context)


class _UpgradeIstiod(InstallIstiod):
    name = "upgrade-istiod"
    title = "Upgrade istiod"
    why = "a control plane may be one minor version newer than its sidecars, never older"
    risk = "sidecars work on without istiod; new pods wait for one that answers"
    undo = "notebook 90 with rollback.keep: 06_kiali"
    version_parameter = "upgrade.to"
    pulled = "when the workloads are restarted"

    def webhook_check(self, context: Context) -> Check:
        """Look whether the API server reaches it; of a canary the next step shows that."""
        if context.parameters.upgrade.strategy == "canary":
            return Check("sidecar by the webhook", "no namespace asks for it yet", ok=None)
        return super().webhook_check(context)


class _TryUpgradedPod(TryOnePod):
    name = "upgrade-trial"
    why = "a node has to pull the newer sidecar, and the newer istiod has to answer it"


class _RestartUpgraded(RestartWorkloads):
    name = "upgrade-restart"
    title = "Restart the workloads whose sidecars are older"
    why = "a pod keeps the sidecar that it was created with"
    undo = "notebook 90 with rollback.keep: 06_kiali"
    reason = "istio-runbook: the sidecars are of another version of Istio"

    def __init__(self, parameters: Parameters) -> None:
        self._istiod = istiod_release(parameters)

    def newest_image(self, context: Context, workload: Object) -> str:
        """Return what istiod injects, or in plan mode would once it is upgraded."""
        if context.parameters.mode == "apply":
            return super().newest_image(context, workload)
        return injection.sidecar_image(self._istiod.rendered(context))

    def verify(self, context: Context) -> Verification:
        """Prove as well that each sidecar is of the version, and which istiod it follows."""
        seen = super().verify(context)
        sidecars = proof.of_sidecars(context, context.parameters.istio.version)
        return replace(seen, tables=(*seen.tables, sidecars))


class _Upgrading(Step):
    """A step with the parameters as they are to be, if an upgrade is asked for."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.name, self.title, self.why = step.name, step.title, step.why
        self.takes, self.risk, self.undo = step.takes, step.risk, step.undo

    def obstacles(self, context: Context) -> Iterator[Finding]:
        """Find what is in the way of the upgrade, and of this step of it."""
        if context.parameters.upgrade.to is not None:
            yield from gate.in_the_way(context)
            yield from self._step.obstacles(course.beyond(context))

    def plan(self, context: Context) -> Plan:
        """Plan the step; nothing where no version is named."""
        if context.parameters.upgrade.to is None:
            return Plan(self.name, context.target.uid, note=course.NOTHING)
        require(gate.in_the_way(context))
        return self._step.plan(course.beyond(context))

    def apply(self, context: Context, plan: Plan) -> None:
        """Apply the step."""
        self._step.apply(course.beyond(context), plan)

    def verify(self, context: Context) -> Verification:
        """Prove the step."""
        if context.parameters.upgrade.to is None:
            return Verification(self.name, note=course.NOTHING)
        return self._step.verify(course.beyond(context))


def steps(parameters: Parameters) -> tuple[Step, ...]:
    """The chapter; its order does not depend on the story."""
    upgraded = course.upgraded(parameters)
    return (
        _Upgrading(_UpgradeBase(parameters, upgraded)),
        _Upgrading(_UpgradeIstiod(istiod_release(upgraded))),
        _Upgrading(MoveNamespace()),
        _Upgrading(_TryUpgradedPod()),
        _Upgrading(_RestartUpgraded(upgraded)),
        RemoveOld(parameters),
    )
