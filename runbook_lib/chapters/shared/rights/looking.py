"""What every account needs that looks: at plans, proofs and the diagnosis."""

from __future__ import annotations

from runbook_lib.chapters.shared.rights.right import LOOK, Right
from runbook_lib.parameters import Parameters

_ADMISSION, _RBAC = "admissionregistration.k8s.io", "rbac.authorization.k8s.io"
_FORWARD = ("get", "create")
"""Verbs to ask a pod directly: a web socket is opened by a GET, and counts as both."""

_APPS, _ISTIO, _SECURITY = "apps", "networking.istio.io", "security.istio.io"


def looking(parameters: Parameters) -> tuple[Right, ...]:
    """Return the rights to look. Nothing of it changes anything.

    They come from the audit log of a whole run.
    """
    return (
        *_everywhere(),
        *_of_the_application(parameters.application.namespace),
        *_of_the_mesh(parameters.istio.namespace),
        *_of_kiali(parameters.kiali.operator_namespace),
        # Whether the cluster's DNS is asked on each node.
        Right(("daemonsets",), ("get",), _APPS, "kube-system", ("node-local-dns",)),
    )


def _everywhere() -> tuple[Right, ...]:
    return (
        Right(("namespaces",), LOOK),
        Right(("configmaps", "pods", "services"), ("list", "watch")),
        Right(("nodes",), ("list",)),
        Right(("persistentvolumes",), ("get",)),
        Right(
            ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"), LOOK, _ADMISSION
        ),
        Right(("customresourcedefinitions",), LOOK, "apiextensions.k8s.io"),
        Right(("daemonsets",), ("list",), _APPS),
        Right(("deployments",), ("list", "watch"), _APPS),
        Right(("networkpolicies",), ("list",), "networking.k8s.io"),
        Right(("clusterrolebindings", "clusterroles"), LOOK, _RBAC),
        Right(("kialis",), ("list",), "kiali.io"),
        Right(("destinationrules", "serviceentries"), ("list",), _ISTIO),
        Right(("authorizationpolicies", "peerauthentications"), ("list",), _SECURITY),
    )


def _of_the_application(namespace: str) -> tuple[Right, ...]:
    return (
        Right(("pods", "services"), ("get",), "", namespace),
        Right(("pods/log",), ("get",), "", namespace),
        Right(("pods/portforward",), _FORWARD, "", namespace),
        Right(("persistentvolumeclaims",), ("get",), "", namespace),
        Right(("events", "limitranges", "resourcequotas"), ("list",), "", namespace),
        Right(("statefulsets",), LOOK, _APPS, namespace),
        Right(("horizontalpodautoscalers",), ("list", "watch"), "autoscaling", namespace),
        Right(("cronjobs",), ("list",), "batch", namespace),
        Right(("jobs",), ("get", "list"), "batch", namespace),
        Right(("endpointslices",), ("list",), "discovery.k8s.io", namespace),
        Right(("pods",), ("list",), "metrics.k8s.io", namespace),
        Right(("ingresses",), ("list",), "networking.k8s.io", namespace),
        Right(("poddisruptionbudgets",), ("list",), "policy", namespace),
        Right(("destinationrules", "envoyfilters"), ("get",), _ISTIO, namespace),
        Right(
            ("authorizationpolicies", "peerauthentications"),
            ("get",),
            _SECURITY,
            namespace,
        ),
        Right(("telemetries",), ("get", "list"), "telemetry.istio.io", namespace),
    )


def _of_the_mesh(namespace: str) -> tuple[Right, ...]:
    return (
        Right(("configmaps", "pods", "services"), ("get",), "", namespace),
        Right(("pods/portforward",), _FORWARD, "", namespace),
        # Helm keeps its releases in Secrets; istiod keeps its authority's key beside them.
        Right(("secrets",), ("get", "list"), "", namespace),
        Right(("serviceaccounts",), LOOK, "", namespace),
        Right(("events",), ("list",), "", namespace),
        Right(("deployments",), ("get",), _APPS, namespace),
        Right(("horizontalpodautoscalers",), ("get", "watch"), "autoscaling", namespace),
        Right(("rolebindings", "roles"), ("get", "watch"), _RBAC, namespace),
        Right(("peerauthentications",), ("get",), _SECURITY, namespace),
        Right(("kialis",), ("get", "watch"), "kiali.io", namespace),
        Right(("ingresses",), ("get",), "networking.k8s.io", namespace),
        # Kiali's readers are looked for by their account; the token asks istiod what it knows.
        Right(("serviceaccounts/token",), ("create",), "", namespace, ("default",)),
    )


def _of_kiali(namespace: str) -> tuple[Right, ...]:
    return (
        Right(("secrets",), ("get", "list"), "", namespace),
        Right(("serviceaccounts",), ("get", "watch"), "", namespace),
        Right(("deployments",), ("get",), _APPS, namespace),
    )
