"""What every account needs that looks: at plans, proofs and the diagnosis."""

from __future__ import annotations

from functools import partial

from runbook_lib.chapters.shared.rights.right import LOOK, RBAC, Right
from runbook_lib.lifecycle import lease
from runbook_lib.parameters import Parameters

_ADMISSION, _CRD = "admissionregistration.k8s.io", "apiextensions.k8s.io"
_APPS, _BATCH, _NETWORKING = "apps", "batch", "networking.k8s.io"
_ISTIO, _SECURITY = "networking.istio.io", "security.istio.io"

_FORWARD = ("get", "create")
"""Verbs to ask a pod directly: a web socket is opened by a GET, and counts as both."""

_INSTALL, _INJECTION, _SCALING = "01_install_istio", "02_label_namespace", "03_autoscaling"
_MUTUAL_TLS, _AUTHORIZATION, _KIALI = "04_mutual_tls", "05_authorization", "06_kiali"
_DIAGNOSIS, _UPGRADE, _BACK = "07_troubleshoot", "08_upgrade", "90_rollback"
_SIDECARS = (_INJECTION, _UPGRADE)
_ISTIOS_OWN = (_INSTALL, _DIAGNOSIS, _UPGRADE, _BACK)
_KIALIS_OWN = (_KIALI, _DIAGNOSIS, _BACK)
_RELEASES = (_INSTALL, _UPGRADE, *_KIALIS_OWN)


def looking(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights to look, with the notebooks that need them where not all do.

    They come from the audit log of a whole run.
    """
    return (
        *_everywhere(),
        *_of_the_application(parameters.application.namespace),
        *_of_the_mesh(parameters.istio.namespace),
        *_of_kiali(parameters.kiali.operator_namespace),
        # Whether the cluster's DNS is asked on each node.
        Right(
            *(("daemonsets",), ("get",), _APPS, "kube-system", ("node-local-dns",)),
            steps=(*_SIDECARS, _DIAGNOSIS),
        ),
        # Who changes the cluster.
        Right(
            *(("leases",), ("get",), "coordination.k8s.io", lease.NAMESPACE, (lease.NAME,)),
            steps=("00_start_here",),
        ),
    )


def _in(
    namespace: str,
    resources: tuple[str, ...],
    verbs: tuple[str, ...],
    group: str = "",
    *notebooks: str,
) -> Right:
    return Right(resources, verbs, group, namespace, steps=notebooks)


def _everywhere() -> tuple[Right, ...]:
    return (
        Right(("namespaces",), LOOK),
        Right(("configmaps", "pods", "services"), ("list", "watch")),
        Right(("nodes",), ("list",)),
        Right(("persistentvolumes",), ("get",), steps=_SIDECARS),
        Right(
            ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"), LOOK, _ADMISSION
        ),
        Right(("customresourcedefinitions",), LOOK, _CRD, steps=_RELEASES),
        Right(("daemonsets",), ("list",), _APPS),
        Right(("deployments",), ("list", "watch"), _APPS),
        Right(("ingressclasses",), ("list",), _NETWORKING, steps=(_MUTUAL_TLS,)),
        Right(("networkpolicies",), ("list",), _NETWORKING, steps=(*_SIDECARS, _DIAGNOSIS)),
        Right(("clusterrolebindings", "clusterroles"), LOOK, RBAC, steps=_RELEASES),
        Right(("kialis",), ("list",), "kiali.io", steps=_KIALIS_OWN),
        Right(("destinationrules",), ("list",), _ISTIO),
        Right(("serviceentries",), ("list",), _ISTIO, steps=(_DIAGNOSIS,)),
        Right(("authorizationpolicies", "peerauthentications"), ("list",), _SECURITY),
    )


def _of_the_application(namespace: str) -> tuple[Right, ...]:
    right = partial(_in, namespace)
    return (
        right(("pods", "services"), ("get",)),
        right(("pods/portforward",), _FORWARD),
        right(("pods/log",), ("get",), "", _AUTHORIZATION, _DIAGNOSIS),
        right(("persistentvolumeclaims",), ("get",), "", *_SIDECARS),
        right(("events",), ("list",)),
        right(("limitranges",), ("list",), "", _DIAGNOSIS),
        right(("resourcequotas",), ("list",), "", *_SIDECARS, _DIAGNOSIS),
        right(("statefulsets",), LOOK, _APPS),
        right(
            *(("horizontalpodautoscalers",), ("list", "watch"), "autoscaling"),
            *(_SCALING, _DIAGNOSIS, _BACK),
        ),
        right(("cronjobs",), ("list",), _BATCH, *_SIDECARS, _MUTUAL_TLS, _DIAGNOSIS),
        right(("jobs",), ("get", "list"), _BATCH),
        right(("endpointslices",), ("list",), "discovery.k8s.io", _DIAGNOSIS),
        right(("pods",), ("list",), "metrics.k8s.io", _SCALING, _DIAGNOSIS, _BACK),
        right(("ingresses",), ("list",), _NETWORKING),
        right(("poddisruptionbudgets",), ("list",), "policy", *_SIDECARS),
        right(("destinationrules", "envoyfilters"), ("get",), _ISTIO),
        right(("authorizationpolicies", "peerauthentications"), ("get",), _SECURITY),
        right(("telemetries",), ("get", "list"), "telemetry.istio.io", *_KIALIS_OWN),
    )


def _of_the_mesh(namespace: str) -> tuple[Right, ...]:
    right = partial(_in, namespace)
    return (
        right(("configmaps", "pods", "services"), ("get",)),
        right(("pods/portforward",), _FORWARD, "", *_RELEASES),
        # Helm keeps its releases in Secrets; istiod keeps its authority's key beside them.
        right(("secrets",), ("get", "list"), "", *_RELEASES),
        right(("serviceaccounts",), LOOK, "", *_RELEASES),
        right(("events",), ("list",)),
        right(("deployments",), ("get",), _APPS),
        right(("horizontalpodautoscalers",), ("get", "watch"), "autoscaling", *_ISTIOS_OWN),
        right(("rolebindings", "roles"), ("get", "watch"), RBAC, *_ISTIOS_OWN),
        right(("peerauthentications",), ("get",), _SECURITY),
        right(("kialis",), ("get", "watch"), "kiali.io", *_KIALIS_OWN),
        right(("ingresses",), ("get",), _NETWORKING, _KIALI),
        # With it istioctl asks istiod what its proxies have acknowledged.
        Right(
            *(("serviceaccounts/token",), ("create",), "", namespace, ("default",)),
            steps=(_DIAGNOSIS, _UPGRADE),
        ),
    )


def _of_kiali(namespace: str) -> tuple[Right, ...]:
    return (
        Right(("secrets",), ("get", "list"), "", namespace, steps=_KIALIS_OWN),
        Right(("serviceaccounts",), ("get", "watch"), "", namespace, steps=_KIALIS_OWN),
        Right(("deployments",), ("get",), _APPS, namespace, steps=_KIALIS_OWN),
    )
