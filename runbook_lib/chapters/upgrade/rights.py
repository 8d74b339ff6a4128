"""What an upgrade of Istio and its way back need besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.release import rights as releases
from runbook_lib.chapters.shared.rights import Right
from runbook_lib.chapters.shared.sidecars import rights as sidecars
from runbook_lib.chapters.upgrade import course
from runbook_lib.parameters import Parameters

_BACK = "rollback-upgrade"


def rights(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights of the chapter; none where no version is named."""
    if parameters.upgrade.to is None:
        return ()
    return (
        *releases.applying(course.upgraded(parameters), "upgrade-base", "upgrade-istiod"),
        *sidecars.trying(parameters, "upgrade-trial"),
        *sidecars.restarting(parameters, "upgrade-restart"),
    )


def rights_back(parameters: Parameters) -> tuple[Right, ...]:
    """Return what going back to the version before needs."""
    if parameters.upgrade.to is None:
        return ()
    return (
        *releases.applying(parameters, _BACK, _BACK),
        *sidecars.restarting(parameters, _BACK),
    )
