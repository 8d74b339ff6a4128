"""What Kiali, its add-ons and its readers, and their way back, need besides looking."""

from __future__ import annotations

from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.shared.rights import APPLY, RBAC, Right, grants
from runbook_lib.cluster import name_of
from runbook_lib.parameters import Parameters

_OPERATOR, _ADDONS, _READERS = ("kiali-operator",), ("kiali-addons",), ("kiali-readers",)
_INSTANCE, _TRACING = ("kiali-instance",), ("kiali-tracing",)
_NETWORKING = "networking.k8s.io"
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
        # What another exposure leaves is deleted first; the operator makes it anew.
        Right(("services",), ("delete",), "", mesh, (name,), _INSTANCE),
        Right(("ingresses",), ("delete",), _NETWORKING, mesh, (name,), _INSTANCE),
        *(_ingress(parameters) if parameters.kiali.exposure.endswith("ingress") else ()),
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


def _ingress(parameters: Parameters) -> tuple[Right, ...]:
    """Return what looking for the class and trying the Ingress take."""
    mesh, name = parameters.istio.namespace, (parameters.kiali.name,)
    return (
        Right(("ingressclasses",), ("list",), _NETWORKING, steps=_INSTANCE, tried=True),
        Right(("ingresses",), APPLY, _NETWORKING, mesh, name, _INSTANCE, tried=True),
    )


def _readers(parameters: Parameters) -> tuple[Right, ...]:
    mesh, (role, *bindings) = parameters.istio.namespace, _names_of_readers(parameters)
    grant = (*APPLY, "escalate", "bind")
    return (
        Right(("serviceaccounts",), APPLY, "", mesh, steps=_READERS, tried=True),
        Right(("clusterroles",), grant, RBAC, "", (role,), _READERS, tried=True),
        Right(("clusterrolebindings",), APPLY, RBAC, "", tuple(bindings), _READERS, tried=True),
        # The proof: what a reader may do.
        Right(("subjectaccessreviews",), ("create",), "authorization.k8s.io", steps=_READERS),
    )


def _names_of_readers(parameters: Parameters) -> tuple[str, ...]:
    """Return the name of their role, and those of their bindings."""
    readers = parameters.kiali.readers
    bindings = (manifest.kiali_reader_binding(parameters, each) for each in readers)
    return (name_of(manifest.kiali_reader_role()), *map(name_of, bindings))


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
        *(_readers_back(parameters) if kiali.readers else ()),
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


def _readers_back(parameters: Parameters) -> tuple[Right, ...]:
    mesh, (role, *bindings) = parameters.istio.namespace, _names_of_readers(parameters)
    steps, delete = ("rollback-kiali",), ("delete",)
    return (
        Right(("serviceaccounts",), delete, "", mesh, steps=steps),
        Right(("clusterroles",), delete, RBAC, "", (role,), steps),
        Right(("clusterrolebindings",), delete, RBAC, "", tuple(bindings), steps),
    )
