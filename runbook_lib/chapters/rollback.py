"""Take everything back, in reverse order of the chapters."""

from __future__ import annotations

from runbook_lib.base import ParameterError
from runbook_lib.chapters.autoscaling import rollback as autoscaling
from runbook_lib.chapters.injection import rollback as sidecars
from runbook_lib.chapters.install import rollback as istio
from runbook_lib.chapters.kiali import rollback as kiali
from runbook_lib.chapters.leftovers import rollback as leftovers
from runbook_lib.chapters.policies import rollback as policies
from runbook_lib.chapters.shared import RollbackStep
from runbook_lib.lifecycle import Step
from runbook_lib.parameters import Parameters


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
