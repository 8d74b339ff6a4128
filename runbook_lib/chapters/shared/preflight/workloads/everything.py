"""What is in the way of restarting workloads for their sidecars, and of STRICT after that."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.chapters.shared.preflight.workloads import (
    injecting,
    policies,
    quotas,
    replacing,
    room,
    scaling_down,
    starting,
    trial,
)
from runbook_lib.chapters.shared.preflight.workloads.listed import Listed, listed, others, outdated
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import injection, rollout


def before_label(context: Context) -> Iterator[Finding]:
    """Find that new pods could not be created with a sidecar: a pod may die at any time."""
    for each in listed(context):
        if each.lacking:
            yield from injecting.not_started(context, each)
            yield from trial.refused(context, each)
    for each in others(context):
        yield from injecting.not_started(context, each)


def before_restart(context: Context) -> Iterator[Finding]:
    """Find what keeps pods of the listed workloads from being replaced by ones with sidecars."""
    waiting: list[Listed] = []
    newest = partial(injection.sidecar_image_for, context)
    for each in listed(context):
        yield from injecting.impossible(each)
        yield from injecting.not_started(context, each)
        if each.lacking or outdated(each, newest):
            waiting.append(each)
            yield from rollout.held(each.workload)
            yield from replacing.stuck(each)
            yield from replacing.contended(context, each)
            yield from starting.too_slow(context, each)
            yield from trial.refused(context, each)
            yield from replacing.away(context, each)
    yield from policies.awakened(context, waiting)
    yield from quotas.exceeded(context, waiting)
    yield from room.lacking(context, waiting)
    yield from scaling_down.held(context, waiting)
    yield from injecting.jobs(context)


def before_strict(context: Context) -> Iterator[Finding]:
    """Find workloads that STRICT would keep from starting again, though all is well now."""
    # What comes first in the order depends on none of the others.
    for each in [*listed(context)][1:]:
        yield from injecting.before_sidecars(context, each)
