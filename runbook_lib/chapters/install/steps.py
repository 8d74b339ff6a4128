"""Istio itself: the chart with its kinds, then the control plane. No gateways."""

from __future__ import annotations

from runbook_lib.chapters.shared.release.control_plane import InstallBase, InstallIstiod
from runbook_lib.chapters.shared.release.istio import base_release, istiod_release
from runbook_lib.lifecycle import Step
from runbook_lib.parameters import Parameters


def steps(parameters: Parameters) -> tuple[Step, ...]:
    """The chapter; its order does not depend on the story."""
    return InstallBase(base_release(parameters)), InstallIstiod(istiod_release(parameters))
