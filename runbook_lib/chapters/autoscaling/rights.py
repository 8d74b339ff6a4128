"""What mending autoscalers and putting them back needs besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.rights import Right, workloads
from runbook_lib.parameters import Parameters

_REMEDY, _BACK = ("autoscaling-remedy",), ("rollback-autoscaling",)


def rights(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights of the chapter: some remedies change autoscalers, one the workloads."""
    if parameters.autoscaling.remedy == "sidecar-requests":
        return workloads(parameters, ("patch",), _REMEDY, tried=True)
    return (_autoscalers(parameters, _REMEDY),)


def rights_back(parameters: Parameters) -> tuple[Right, ...]:
    """Return what the way back needs, whichever remedy was taken."""
    return (_autoscalers(parameters, _BACK), *workloads(parameters, ("patch",), _BACK, tried=True))


def _autoscalers(parameters: Parameters, steps: tuple[str, ...]) -> Right:
    namespace, kind = parameters.application.namespace, "horizontalpodautoscalers"
    return Right((kind,), ("patch",), "autoscaling", namespace, steps=steps, tried=True)
