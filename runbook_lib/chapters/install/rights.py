"""What installing Istio and uninstalling it needs besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.release import rights as releases
from runbook_lib.chapters.shared.rights import Right
from runbook_lib.parameters import Parameters


def rights(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights of the chapter."""
    return releases.applying(parameters, "install-base", "install-istiod")


def rights_back(parameters: Parameters) -> tuple[Right, ...]:
    """Return what uninstalling needs."""
    return releases.uninstalling(parameters, "rollback-istio")
