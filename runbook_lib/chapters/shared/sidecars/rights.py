"""What replacing pods for their sidecars needs besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.rights import APPLY, Right, workloads
from runbook_lib.parameters import Parameters


def trying(parameters: Parameters, step: str) -> tuple[Right, ...]:
    """Return what a step needs to try one pod; nothing where it is left out."""
    if not parameters.tries_canary:
        return ()
    verbs, namespace = (*APPLY, "delete"), parameters.application.namespace
    return (Right(("jobs",), verbs, "batch", namespace, steps=(step,), tried=True),)


def restarting(parameters: Parameters, step: str) -> tuple[Right, ...]:
    """Return what a step needs to restart; pods as they would be are tried as dry runs."""
    namespace = parameters.application.namespace
    return (
        Right(("pods",), APPLY, "", namespace, steps=(step,), tried=True),
        *workloads(parameters, ("patch",), (step,)),
    )
