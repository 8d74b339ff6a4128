"""Take everything back, in reverse order of the chapters."""

from __future__ import annotations

from runbook_lib.errors import ParameterError
from runbook_lib.parameters import Parameters
from runbook_lib.step import Step
from runbook_lib.steps.rollback import autoscaling, istio, kiali, leftovers, policies, sidecars
from runbook_lib.steps.rollback.base import RollbackStep


def steps(parameters: Parameters) -> tuple[Step, ...]:
    """The chapter; its order does not depend on the story, because nobody may notice it.

    Raises:
        ParameterError: There is no step of a name in `rollback.leave_out`.
    """
    every: tuple[RollbackStep, ...] = (
        *kiali.steps(parameters),
        *policies.steps(parameters),
        *autoscaling.steps(parameters),
        *sidecars.steps(parameters),
        *istio.steps(parameters),
        *leftovers.steps(parameters),
    )
    names = [step.name for step in every]
    unknown = [name for name in parameters.rollback.leave_out if name not in names]
    if unknown:
        raise ParameterError(
            f"rollback.leave_out: there is no step {', '.join(unknown)}",
            f"choose from: {', '.join(names)}",
        )
    return every
