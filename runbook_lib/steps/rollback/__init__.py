"""Take everything back, in reverse order of the chapters."""

from __future__ import annotations

from runbook_lib.parameters import Parameters
from runbook_lib.step import Step
from runbook_lib.steps.rollback import autoscaling, istio, kiali, leftovers, policies, sidecars


def steps(parameters: Parameters) -> tuple[Step, ...]:
    """The chapter; its order does not depend on the story, because nobody may notice it."""
    return (
        *kiali.steps(parameters),
        *policies.steps(parameters),
        *autoscaling.steps(parameters),
        *sidecars.steps(parameters),
        *istio.steps(parameters),
        *leftovers.steps(parameters),
    )
