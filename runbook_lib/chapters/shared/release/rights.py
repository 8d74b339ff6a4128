"""What installing, upgrading and uninstalling Istio needs besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.rights import APPLY, RBAC, Right, grants
from runbook_lib.mesh import of_revision
from runbook_lib.parameters import Parameters

_ADMISSION = "admissionregistration.k8s.io"


def applying(parameters: Parameters, base: str, istiod: str) -> tuple[Right, ...]:
    """Return what both releases take; values of the charts that add objects add to it.

    Args:
        parameters: They name what the charts make.
        base: The step that applies istio-base.
        istiod: The step that applies istiod.
    """
    namespace = parameters.istio.namespace
    hook, validator, _ = _hooks(parameters)
    return (
        *applying_base(parameters, base, istiod),
        Right(("configmaps", "services"), APPLY, "", namespace, steps=(istiod,)),
        Right(("deployments",), APPLY, "apps", namespace, steps=(istiod,)),
        Right(("horizontalpodautoscalers",), APPLY, "autoscaling", namespace, steps=(istiod,)),
        Right(
            ("mutatingwebhookconfigurations",), APPLY, _ADMISSION, names=(hook,), steps=(istiod,)
        ),
        Right(
            ("validatingwebhookconfigurations",),
            APPLY,
            _ADMISSION,
            names=(validator,),
            steps=(istiod,),
        ),
        *grants(_cluster_roles(parameters), istiod),
        *grants((of_revision(parameters, "istiod"),), istiod, namespace),
        # The proof: a pod that would get a sidecar, as a dry run.
        Right(("pods",), APPLY, "", parameters.application.namespace, steps=(istiod,)),
    )


def applying_base(parameters: Parameters, step: str, *others: str) -> tuple[Right, ...]:
    """Return what istio-base takes.

    Args:
        parameters: They name what its chart makes.
        step: The step that applies it.
        others: Steps with a release of their own in the same namespace.
    """
    namespace, default = parameters.istio.namespace, _hooks(parameters)[2]
    return (
        Right(("customresourcedefinitions",), APPLY, "apiextensions.k8s.io", steps=(step,)),
        Right(
            ("validatingwebhookconfigurations",), APPLY, _ADMISSION, names=(default,), steps=(step,)
        ),
        Right(("secrets",), ("create", "update"), "", namespace, steps=(step, *others)),
        Right(("serviceaccounts",), APPLY, "", namespace, steps=(step, *others)),
    )


def uninstalling(parameters: Parameters, step: str) -> tuple[Right, ...]:
    """Return what a step needs to uninstall both releases: Helm deletes what it made."""
    *_, default = _hooks(parameters)
    base = ("validatingwebhookconfigurations",)
    return (
        *uninstalling_istiod(parameters, step),
        Right(base, ("delete",), _ADMISSION, names=(default,), steps=(step,)),
    )


def uninstalling_istiod(parameters: Parameters, step: str) -> tuple[Right, ...]:
    """Return what a step needs to uninstall istiod alone, beside another one."""
    namespace, delete = parameters.istio.namespace, ("delete",)
    hook, validator, _ = _hooks(parameters)
    roles = _cluster_roles(parameters)
    return (
        Right(("secrets",), ("update", "delete"), "", namespace, steps=(step,)),
        Right(("configmaps", "serviceaccounts", "services"), delete, "", namespace, steps=(step,)),
        Right(("deployments",), delete, "apps", namespace, steps=(step,)),
        Right(("horizontalpodautoscalers",), delete, "autoscaling", namespace, steps=(step,)),
        Right(("mutatingwebhookconfigurations",), delete, _ADMISSION, names=(hook,), steps=(step,)),
        Right(
            ("validatingwebhookconfigurations",),
            delete,
            _ADMISSION,
            names=(validator,),
            steps=(step,),
        ),
        Right(("clusterrolebindings", "clusterroles"), delete, RBAC, names=roles, steps=(step,)),
        Right(("rolebindings", "roles"), delete, RBAC, namespace, steps=(step,)),
    )


def _hooks(parameters: Parameters) -> tuple[str, str, str]:
    namespace = parameters.istio.namespace
    hook = of_revision(parameters, "istio-sidecar-injector")
    return (
        hook if namespace == "istio-system" else f"{hook}-{namespace}",
        f"{of_revision(parameters, 'istio-validator')}-{namespace}",
        "istiod-default-validator",
    )


def _cluster_roles(parameters: Parameters) -> tuple[str, ...]:
    kinds = ("istio-reader-clusterrole", "istiod-clusterrole", "istiod-gateway-controller")
    return tuple(f"{of_revision(parameters, each)}-{parameters.istio.namespace}" for each in kinds)
