"""What giving sidecars and taking them away needs besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.rights import APPLY, Right, workloads
from runbook_lib.chapters.shared.sidecars import rights as sidecars
from runbook_lib.parameters import Parameters

_LABEL, _BACK = ("injection-label",), ("rollback-sidecars",)


def rights(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights of the chapter."""
    namespace = parameters.application.namespace
    return (
        *sidecars.trying(parameters, "injection-canary"),
        Right(("namespaces",), ("patch",), names=(namespace,), steps=_LABEL, tried=True),
        # Pods as they would be with sidecars are only tried, as dry runs.
        Right(("pods",), APPLY, "", namespace, steps=_LABEL, tried=True),
        *sidecars.restarting(parameters, "injection-restart"),
    )


def rights_back(parameters: Parameters) -> tuple[Right, ...]:
    """Return what taking sidecars away needs."""
    namespace = parameters.application.namespace
    return (
        Right(("namespaces",), ("patch",), names=(namespace,), steps=_BACK, tried=True),
        Right(("pods",), APPLY, "", namespace, steps=_BACK),
        *workloads(parameters, ("patch",), _BACK, tried=True),
    )
