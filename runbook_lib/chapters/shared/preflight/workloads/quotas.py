"""Quotas of the namespace that leave no room for the sidecars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runbook_lib.chapters.shared.preflight.workloads.listed import Listed
from runbook_lib.chapters.shared.preflight.workloads.resources import add, of_sidecar, words
from runbook_lib.cluster import reference
from runbook_lib.cluster.quantities import number
from runbook_lib.lifecycle import Context, Finding

_SHORT = {"cpu": "requests.cpu", "memory": "requests.memory"}
"""Quotas may call requests by the resource alone."""


def exceeded(context: Context, waiting: Sequence[Listed]) -> Iterator[Finding]:
    """Find quotas that would be exceeded once each pod has come back with a sidecar."""
    more = add(
        {f"{section}.{resource}": amount * len(each.lacking) for resource, amount in of.items()}
        for each in waiting
        for section, of in of_sidecar(context, each).items()
    )
    namespace = context.parameters.application.namespace
    for quota in context.cluster.list("v1", "ResourceQuota", namespace):
        if quota["spec"].get("scopes") or quota["spec"].get("scopeSelector"):
            continue  # about some pods alone
        status = quota.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        for name, limit in hard.items():
            added = more.get(_SHORT.get(name, name))
            if not added or number(used.get(name, 0)) + added <= number(limit):
                continue
            yield Finding(
                reference(quota),
                f"{name} is {limit}, of which {used.get(name, 0)} is used, and the sidecars of "
                f"{sum(len(each.lacking) for each in waiting)} pods need {words(name, added)} more",
                "a pod that is deleted for its sidecar would be refused when it comes back",
                "raise the quota, or have sidecars ask for less",
                (f".status.used.{name}: {used.get(name, 0)}", f".status.hard.{name}: {limit}"),
                parameter="istio.istiod.values.global.proxy.resources",
            )
