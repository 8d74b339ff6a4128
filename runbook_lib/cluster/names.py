"""Names that Kubernetes, Istio and the runbook agree on: API versions, labels, annotations."""

from __future__ import annotations

ADMISSION = "admissionregistration.k8s.io/v1"
APPS = "apps/v1"
AUTHENTICATION = "authentication.k8s.io/v1"
CUSTOM_KINDS = "apiextensions.k8s.io/v1"
NETWORKING = "networking.k8s.io/v1"

CRD = "CustomResourceDefinition"
TLS_SECRET = "kubernetes.io/tls"
"""The type of Secrets with a certificate and its key."""

WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet")
"""Kinds whose pods `kubectl rollout restart` replaces."""

FIELD_MANAGER = "istio-runbook"
"""Owns the fields that the runbook applies."""

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""What `kubectl rollout restart` sets in the pod template."""

RESTART_REASON = "istio-runbook/restart-reason"
"""The pod template annotation that says why the runbook restarted a workload."""

PROXY = "istio-proxy"
"""The sidecar's container name."""

INJECT = "sidecar.istio.io/inject"
"""Pods marked `false` with this label or annotation want no sidecar."""

NATIVE_SIDECAR = "sidecar.istio.io/nativeSidecar"
"""The annotation of a pod that chooses whether its sidecar is native."""

INJECTION_LABEL = "istio-injection"
REVISION_LABEL = "istio.io/rev"
"""Two ways to ask for sidecars; a namespace must carry only one (istioctl analyze: IST0123)."""

TAG_LABEL = "istio.io/tag"
"""On a webhook's configuration: another name of its revision, by which namespaces ask for it."""

DRY_RUN_ANNOTATION = "istio.io/dry-run"
"""Makes an AuthorizationPolicy log its decisions without enforcing them; see
https://istio.io/latest/docs/tasks/security/authorization/authz-dry-run/.
"""
