"""What pods ask for, with their sidecars, as numbers: cores and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from runbook_lib.chapters.shared.preflight.workloads.listed import Listed
from runbook_lib.cluster import Object
from runbook_lib.cluster.quantities import number
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import injection

RESOURCES = ("cpu", "memory")

Amounts = dict[str, Decimal]
"""By resource, or by what a quota calls it, such as `requests.cpu`."""


def asked(spec: Object, section: str = "requests") -> Amounts:
    """Return what the scheduler reckons for a pod.

    It is the sum of its containers and of the init containers that keep running, or what a single
    other init container asks for, if that is more. See
    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers.
    """
    init = spec.get("initContainers") or []
    staying = [c for c in init if c.get("restartPolicy") == "Always"]
    passing = [c for c in init if c.get("restartPolicy") != "Always"]

    def of(container: Object, resource: str) -> Decimal:
        return number(((container.get("resources") or {}).get(section) or {}).get(resource, 0))

    found = {}
    for resource in RESOURCES:
        always = sum((of(c, resource) for c in [*spec["containers"], *staying]), Decimal(0))
        found[resource] = max([always, *(of(c, resource) for c in passing)])
    return found


def of_sidecar(context: Context, each: Listed) -> dict[str, Amounts]:
    """Return what a sidecar adds to each pod of a workload: by section, then by resource."""
    found = injection.sidecar_resources(context, each.template)
    return {
        section: {resource: number(amount) for resource, amount in amounts.items()}
        for section, amounts in found.items()
    }


def add(amounts: Iterable[Mapping[str, Decimal]]) -> Amounts:
    """Return the sum, key by key."""
    total: Amounts = {}
    for each in amounts:
        for key, amount in each.items():
            total[key] = total.get(key, Decimal(0)) + amount
    return total


def words(resource: str, amount: Decimal) -> str:
    """Return an amount as people write it: cores in thousandths, memory in MiB."""
    if resource.endswith("cpu"):
        return f"{round(amount * 1000)}m"
    return f"{round(amount / 2**20)}Mi"
