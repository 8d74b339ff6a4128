"""The chapters of the runbook: which steps each notebook takes, in the order of the story."""

from __future__ import annotations

from collections.abc import Callable

from runbook_lib.base import RunbookError
from runbook_lib.chapters import rollback
from runbook_lib.chapters.autoscaling import steps as autoscaling
from runbook_lib.chapters.injection import steps as injection
from runbook_lib.chapters.install import steps as install
from runbook_lib.chapters.kiali import steps as kiali
from runbook_lib.chapters.policies import authorization, mutual_tls
from runbook_lib.lifecycle import Step
from runbook_lib.parameters import Parameters

CHAPTERS: dict[str, Callable[[Parameters], tuple[Step, ...]]] = {
    "00_start_here": lambda _parameters: (),
    "01_install_istio": install.steps,
    "02_label_namespace": injection.steps,
    "03_autoscaling": autoscaling.steps,
    "04_mutual_tls": mutual_tls.steps,
    "05_authorization": authorization.steps,
    "06_kiali": kiali.steps,
    "07_troubleshoot": lambda _parameters: (),
    "90_rollback": rollback.steps,
}
"""The steps of each notebook, by its name, in the order in which the notebooks are run."""

ON_REQUEST = ("90_rollback",)
"""Notebooks that a run takes only when they are named."""


def of(notebook: str, parameters: Parameters) -> tuple[Step, ...]:
    """Return the steps of a notebook.

    Raises:
        RunbookError: There is no such notebook.
    """
    try:
        chapter = CHAPTERS[notebook]
    except KeyError:
        raise RunbookError(
            f"there is no notebook {notebook!r}", f"choose one of: {', '.join(CHAPTERS)}"
        ) from None
    return chapter(parameters)
