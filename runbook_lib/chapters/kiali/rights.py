"""What Kiali, its add-ons and its readers, and their way back, need besides looking."""

from __future__ import annotations

from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.shared.rights import APPLY, RBAC, Right, grants
from runbook_lib.cluster import name_of
from runbook_lib.parameters import Parameters

_OPERATOR, _ADDONS, _READERS = ("kiali-operator",), ("kiali-addons",), ("kiali-readers",)
_INSTANCE, _TRACING = ("kiali-instance",), ("kiali-tracing",)
_PROMETHEUS = ("prometheus",)
"""The names of what Istio's sample makes outside of namespaces."""


def rights(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights of the chapter."""
    mesh, application = parameters.istio.namespace, parameters.application.namespace
    name, telemetry = parameters.kiali.name, (name_of(manifest.telemetry(parameters)),)
    return (
        *_operator(parameters),
        Right(
            ("configmaps", "serviceaccounts", "services"),
            APPLY,
            "",
            mesh,
            steps=_ADDONS,
            tried=True,
        ),
        Right(("deployments",), APPLY, "apps", mesh, steps=_ADDONS, tried=True),
        *grants(_PROMETHEUS, _ADDONS[0], tried=True),
        Right(
            ("telemetries",),
            APPLY,
            "telemetry.istio.io",
            application,
            telemetry,
            _TRACING,
            tried=True,
        ),
        Right(("kialis",), APPLY, "kiali.io", mesh, (name,), _INSTANCE, tried=True),
        # The proof logs in as Kiali itself does.
        Right(
            ("serviceaccounts/token",),
            ("create",),
            "",
            mesh,
            (f"{name}-service-account",),
            _INSTANCE,
        ),
        *(_readers(parameters) if parameters.kiali.readers else ()),
    )


def _operator(parameters: Parameters) -> tuple[Right, ...]:
    kiali, namespace = parameters.kiali, parameters.kiali.operator_namespace
    return (
        Right(
            ("customresourcedefinitions",),
            APPLY,
            "apiextensions.k8s.io",
            names=("kialis.kiali.io",),
            steps=_OPERATOR,
            tried=True,
        ),
        Right(("secrets",), ("create", "update"), "", namespace, steps=_OPERATOR),
        Right(("serviceaccounts",), APPLY, "", namespace, steps=_OPERATOR),
        Right(("deployments",), APPLY, "apps", namespace, steps=_OPERATOR),
        *grants((kiali.operator.release,), _OPERATOR[0]),
    )


def _readers(parameters: Parameters) -> tuple[Right, ...]:
    mesh, role = parameters.istio.namespace, name_of(manifest.kiali_reader_role())
    readers = parameters.kiali.readers
    accounts = tuple(name_of(manifest.kiali_reader_account(parameters, r)) for r in readers)
    bindings = tuple(name_of(manifest.kiali_reader_binding(parameters, r)) for r in readers)
    return (
        Right(("serviceaccounts",), APPLY, "", mesh, accounts, _READERS, tried=True),
        Right(
            ("clusterroles",),
            (*APPLY, "escalate", "bind"),
            RBAC,
            names=(role,),
            steps=_READERS,
            tried=True,
        ),
        Right(("clusterrolebindings",), APPLY, RBAC, names=bindings, steps=_READERS, tried=True),
        # The proof: what a reader may do.
        Right(("subjectaccessreviews",), ("create",), "authorization.k8s.io", steps=_READERS),
    )


def rights_back(parameters: Parameters) -> tuple[Right, ...]:
    """Return what the way back needs; it lists every kind, for what others have made."""
    kiali, mesh = parameters.kiali, parameters.istio.namespace
    operator, delete = kiali.operator_namespace, ("delete",)
    addons, uninstall = ("rollback-addons",), ("rollback-kiali-operator",)
    telemetry = (name_of(manifest.telemetry(parameters)),)
    return (
        Right(("kialis",), delete, "kiali.io", mesh, (kiali.name,), ("rollback-kiali",)),
        Right(
            ("telemetries",),
            delete,
            "telemetry.istio.io",
            parameters.application.namespace,
            telemetry,
            ("rollback-tracing",),
        ),
        Right(("*",), ("list",), "*", steps=addons),
        Right(("configmaps", "serviceaccounts", "services"), delete, "", mesh, steps=addons),
        Right(("deployments",), delete, "apps", mesh, steps=addons),
        Right(
            ("clusterrolebindings", "clusterroles"), delete, RBAC, names=_PROMETHEUS, steps=addons
        ),
        Right(("secrets",), ("update", "delete"), "", operator, steps=uninstall),
        Right(("serviceaccounts",), delete, "", operator, steps=uninstall),
        Right(("deployments",), delete, "apps", operator, steps=uninstall),
        Right(
            ("clusterrolebindings", "clusterroles"),
            delete,
            RBAC,
            names=(kiali.operator.release,),
            steps=uninstall,
        ),
    )
