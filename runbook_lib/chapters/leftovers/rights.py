"""What deleting the rest needs besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.rights import Right
from runbook_lib.parameters import Parameters

_STEPS = ("rollback-leftovers",)
_ROOT = ("istio-ca-crl", "istio-ca-root-cert")
"""What istiod copies into every namespace."""


def rights(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights, where the rest is to be deleted. Namespaces are not: roles lie in them."""
    if not parameters.rollback.kinds:
        return ()
    namespace, delete = parameters.istio.namespace, ("delete",)
    return (
        Right(("customresourcedefinitions",), delete, "apiextensions.k8s.io", steps=_STEPS),
        Right(("configmaps",), ("get", "delete"), names=_ROOT, steps=_STEPS),
        Right(("configmaps", "secrets"), delete, "", namespace, steps=_STEPS),
        Right(("leases",), ("get", "delete"), "coordination.k8s.io", namespace, steps=_STEPS),
    )
