"""What both ways back from an upgrade have in common."""

from __future__ import annotations

from runbook_lib.chapters.shared import RollbackStep, kept
from runbook_lib.chapters.shared.release.istio import base_release, istiod_release
from runbook_lib.chapters.shared.sidecars import RestartWorkloads
from runbook_lib.cluster import Object
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import injection
from runbook_lib.parameters import Parameters

NOTHING = "No upgrade to take back: upgrade.to names no version."


class TakeUpgradeBack(RollbackStep):
    """Go back to the version of `istio.version`, with istiod first and its kinds last."""

    name = "rollback-upgrade"
    chapter = "08_upgrade"
    title = "Go back to the version of Istio from before the upgrade"
    why = "sidecars must not be newer than their istiod, so they follow it at once"
    takes = "a minute, and as long as each workload needs to start, one after the other"
    risk = "each workload is away while its pods are replaced, unless it has several"
    undo = "run 08_upgrade again"

    def __init__(self, parameters: Parameters) -> None:
        """Nothing is looked at yet.

        Args:
            parameters: They say what was there before, and what the upgrade is.
        """
        super().__init__()
        self._base = base_release(parameters, goes_back=True)
        self._restart = _RestartBack(parameters)


class _RestartBack(RestartWorkloads):
    """Replace sidecars that are newer than the istiod that comes back."""

    reason = "istio-runbook: an upgrade of Istio is taken back"

    def __init__(self, parameters: Parameters) -> None:
        self._istiod = istiod_release(parameters)

    def newest_image(self, context: Context, workload: Object) -> str:  # noqa: ARG002
        """Return what istiod will inject once it is back."""
        return injection.sidecar_image(self._istiod.rendered(context))


def version_before(context: Context) -> str | None:
    """Return the version to go back to; None if no parameter says which."""
    return context.target.istio_version or context.parameters.istio.version


def istio_stays(context: Context) -> bool:
    """Whether the rollback keeps the control plane."""
    return kept(context, "01_install_istio")
