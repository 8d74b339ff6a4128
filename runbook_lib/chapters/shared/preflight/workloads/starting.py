"""Limits that are shorter than a workload's own probes allow it to take."""

from __future__ import annotations

import math
from collections.abc import Iterator

from runbook_lib.chapters.shared.preflight.workloads.listed import Listed
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import patience


def too_slow(context: Context, each: Listed) -> Iterator[Finding]:
    """Find that a restart may take longer than the parameters have the runbook wait."""
    given = context.parameters.timeouts.rollout
    seconds = math.ceil(patience.seconds_to_replace(each.workload))
    starting = math.ceil(patience.seconds_to_start(each.template))
    if given is None or seconds <= given:
        return
    yield Finding(
        each.where,
        f"by its own probes it may take {seconds} s to replace its pods, and timeouts.rollout is "
        f"{given} s",
        "a restart that only takes its time would be called failed",
        "leave timeouts.rollout out, for a limit that follows from the probes",
        (
            f".spec.replicas: {each.workload['spec'].get('replicas', 1)}",
            f".spec.template, by the probes of its containers: {starting} s",
        ),
        parameter=f"timeouts.rollout: {seconds}",
    )
