"""Sidecars: one pod to try, the label, then a restart of what has none yet."""

from __future__ import annotations

from runbook_lib.chapters.injection import label
from runbook_lib.chapters.shared.sidecars import RestartWorkloads, TryOnePod
from runbook_lib.lifecycle import Step
from runbook_lib.parameters import Parameters


def steps(_parameters: Parameters) -> tuple[Step, ...]:
    """The chapter; its order does not depend on the story."""
    return TryOnePod(), label.step(), RestartWorkloads()
