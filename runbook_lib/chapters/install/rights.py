"""What installing Istio and uninstalling it needs besides looking."""

from __future__ import annotations

from runbook_lib.chapters.shared.rights import APPLY, RBAC, Right, grants
from runbook_lib.mesh import of_revision
from runbook_lib.parameters import Parameters

_BASE, _ISTIOD, _BACK = ("install-base",), ("install-istiod",), ("rollback-istio",)
_ADMISSION = "admissionregistration.k8s.io"


def rights(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights of the chapter; values of the charts that add objects add to them."""
    namespace = parameters.istio.namespace
    hook, validator, default = _hooks(parameters)
    return (
        Right(("customresourcedefinitions",), APPLY, "apiextensions.k8s.io", steps=_BASE),
        Right(
            ("validatingwebhookconfigurations",), APPLY, _ADMISSION, names=(default,), steps=_BASE
        ),
        Right(("secrets",), ("create", "update"), "", namespace, steps=_BASE + _ISTIOD),
        Right(("serviceaccounts",), APPLY, "", namespace, steps=_BASE + _ISTIOD),
        Right(("configmaps", "services"), APPLY, "", namespace, steps=_ISTIOD),
        Right(("deployments",), APPLY, "apps", namespace, steps=_ISTIOD),
        Right(("horizontalpodautoscalers",), APPLY, "autoscaling", namespace, steps=_ISTIOD),
        Right(("mutatingwebhookconfigurations",), APPLY, _ADMISSION, names=(hook,), steps=_ISTIOD),
        Right(
            ("validatingwebhookconfigurations",),
            APPLY,
            _ADMISSION,
            names=(validator,),
            steps=_ISTIOD,
        ),
        *grants(_cluster_roles(parameters), _ISTIOD[0]),
        *grants((of_revision(parameters, "istiod"),), _ISTIOD[0], namespace),
        # The proof: a pod that would get a sidecar, as a dry run.
        Right(("pods",), APPLY, "", parameters.application.namespace, steps=_ISTIOD),
    )


def rights_back(parameters: Parameters) -> tuple[Right, ...]:
    """Return what uninstalling needs: Helm deletes what it made."""
    namespace, delete = parameters.istio.namespace, ("delete",)
    hook, *validators = _hooks(parameters)
    roles = _cluster_roles(parameters)
    return (
        Right(("secrets",), ("update", "delete"), "", namespace, steps=_BACK),
        Right(("configmaps", "serviceaccounts", "services"), delete, "", namespace, steps=_BACK),
        Right(("deployments",), delete, "apps", namespace, steps=_BACK),
        Right(("horizontalpodautoscalers",), delete, "autoscaling", namespace, steps=_BACK),
        Right(("mutatingwebhookconfigurations",), delete, _ADMISSION, names=(hook,), steps=_BACK),
        Right(
            ("validatingwebhookconfigurations",),
            delete,
            _ADMISSION,
            names=tuple(validators),
            steps=_BACK,
        ),
        Right(("clusterrolebindings", "clusterroles"), delete, RBAC, names=roles, steps=_BACK),
        Right(("rolebindings", "roles"), delete, RBAC, namespace, steps=_BACK),
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
