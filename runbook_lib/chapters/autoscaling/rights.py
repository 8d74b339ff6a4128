"""What mending autoscalers and putting them back needs besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.rights import Right
from runbook_lib.parameters import Parameters

_REMEDY, _BACK = ("autoscaling-remedy",), ("rollback-autoscaling",)


def rights(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights of the chapter: some remedies change autoscalers, one the workloads."""
    if parameters.autoscaling.remedy == "sidecar-requests":
        return tuple(_workloads(parameters, _REMEDY))
    return (_autoscalers(parameters, _REMEDY),)


def rights_back(parameters: Parameters) -> tuple[Right, ...]:
    """Return what the way back needs, whichever remedy was taken."""
    return (_autoscalers(parameters, _BACK), *_workloads(parameters, _BACK))


def _autoscalers(parameters: Parameters, steps: tuple[str, ...]) -> Right:
    namespace, kind = parameters.application.namespace, "horizontalpodautoscalers"
    return Right((kind,), ("patch",), "autoscaling", namespace, steps=steps, tried=True)


def _workloads(parameters: Parameters, steps: tuple[str, ...]) -> list[Right]:
    return [
        Right(
            (f"{kind.lower()}s",),
            ("patch",),
            "apps",
            parameters.application.namespace,
            (name,),
            steps,
            tried=True,
        )
        for kind, name in parameters.application.workloads
    ]
