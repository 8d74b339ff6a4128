"""Whether a pod gets a sidecar: by its own marks, or asked of the API server as a dry run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from runbook_lib.base import ClusterRefused, RunbookError
from runbook_lib.cluster import (
    ADMISSION,
    INJECT,
    PROXY,
    REVISION_LABEL,
    Object,
    annotations_of,
    labels_of,
    pods,
    ref,
)
from runbook_lib.lifecycle import Check, Context
from runbook_lib.mesh import revisions, rollout, web

_INJECTOR = "sidecar-injector.istio.io"
"""The end of the names of istiod's webhooks for pods."""

_BUSY, _SERVER_ERRORS = 429, 500
"""HTTP status: too many requests; from here on the API server or a webhook did not answer."""

_REQUESTS = {"cpu": "100m", "memory": "128Mi"}
_LIMITS = {"cpu": "2", "memory": "1024Mi"}
"""Of a sidecar where nothing else is set, see the istiod chart's `global.proxy.resources`."""

_OF_ANNOTATIONS = {
    "proxyCPU": ("requests", "cpu"),
    "proxyMemory": ("requests", "memory"),
    "proxyCPULimit": ("limits", "cpu"),
    "proxyMemoryLimit": ("limits", "memory"),
}


def wants_sidecar(pod: Object) -> bool:
    """Whether istiod would inject: not into pods on the host's network, nor where told not to."""
    marks = {**annotations_of(pod), **labels_of(pod)}
    return not pod["spec"].get("hostNetwork") and marks.get(INJECT, "true") != "false"


def injector(context: Context) -> Object | None:
    """Return the webhooks by which istiod of the parameters' revision injects; None without it."""
    found = context.cluster.list(ADMISSION, "MutatingWebhookConfiguration")
    revision = revisions.resolved(context.parameters, revisions.tags_among(found)).istio.revision
    for item in found:
        names = [webhook["name"] for webhook in item.get("webhooks") or []]
        same = labels_of(item).get(REVISION_LABEL, "default") == revision
        if same and any(name.endswith(_INJECTOR) for name in names):
            return item
    return None


def sidecar_image_for(context: Context, workload: Object) -> str:
    """Return the image of the sidecar that a workload's new pod would get; empty if none is known.

    Until there is an istiod, and where it or the API server refuses the pod, none is.
    """
    if injector(context) is None:
        return ""
    try:
        return pods.image_of(attempt(context, workload, sidecar=True), PROXY)
    except ClusterRefused:
        return ""


def sidecar_image(rendered: Iterable[Object]) -> str:
    """Return the image of the sidecars that an istiod would inject; empty if it cannot be told.

    As `ProxyImage` in https://github.com/istio/istio/blob/master/pkg/kube/inject/inject.go.

    Args:
        rendered: The objects of istiod's chart, among them the ConfigMap of the injector's values.
    """
    for item in rendered:
        if item["kind"] == "ConfigMap" and "values" in (data := item.get("data") or {}):
            settings = json.loads(data["values"]).get("global", {})
            name = settings.get("proxy", {}).get("image", "")
            if "/" in name or not name:
                return str(name)
            tag = str(settings.get("tag", ""))
            if variant := settings.get("variant"):
                tag = f"{re.sub('-(distroless|debug)$', '', tag)}-{variant}"
            return f"{settings.get('hub', '')}/{name}:{tag}"
    return ""


def sidecar_resources(context: Context, template: Object) -> dict[str, dict[str, str]]:
    """Return what a sidecar of a template's pods requests and is limited to.

    Annotations of the template come before the values for istiod's chart, and these before what
    the chart has by itself.
    """
    proxy = context.parameters.istio.istiod.values.get("global", {}).get("proxy", {})
    given = proxy.get("resources") or {}
    found = {
        "requests": {**_REQUESTS, **(given.get("requests") or {})},
        "limits": {**_LIMITS, **(given.get("limits") or {})},
    }
    for name, (section, resource) in _OF_ANNOTATIONS.items():
        if value := annotations_of(template).get(f"sidecar.istio.io/{name}"):
            found[section][resource] = value
    return found


def marks(revision: str, *, sidecar: bool) -> dict[str, str]:
    """Return the labels by which a pod asks for a sidecar of a revision, or for none."""
    if not sidecar or revision == "default":
        return {INJECT: str(sidecar).lower()}
    return {INJECT: "true", REVISION_LABEL: revision}


def attempt(context: Context, workload: Object, *, sidecar: bool) -> Object:
    """Ask for a pod of a workload as a dry run: the API server answers as for a real one.

    With a sidecar, istiod puts it in; where there is no istiod yet, a stand-in asks for the rights
    and resources that a sidecar needs.

    Args:
        context: Where.
        workload: Whose pod is tried.
        sidecar: Whether it is to have one.

    Raises:
        ClusterRefused: The API server, or a webhook that it asks, refuses the pod.
    """
    pod = rollout.trial_pod(workload, "with-sidecar" if sidecar else "without-sidecar")
    asking = marks(context.parameters.istio.revision, sidecar=sidecar)
    pod["metadata"]["labels"] = {**pod["metadata"]["labels"], **asking}
    if sidecar and injector(context) is None:
        resources = sidecar_resources(context, workload["spec"]["template"])
        spec = pod["spec"]
        spec["initContainers"] = [
            _container("istio-init", resources, _INIT_RIGHTS),
            *(spec.get("initContainers") or []),
        ]
        spec["containers"] = [*spec["containers"], _container(PROXY, resources, _PROXY_RIGHTS)]
    return context.cluster.apply(pod, dry_run=True)


_INIT_RIGHTS: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
    "runAsNonRoot": False,
    "runAsUser": 0,
    "runAsGroup": 0,
}
"""As in the chart's files/injection-template.yaml, where the CNI plugin does not do it."""

_PROXY_RIGHTS: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 1337,
    "runAsGroup": 1337,
}


def _container(name: str, resources: Object, rights: Object) -> Object:
    return {
        "name": name,
        "image": "istio/proxyv2",
        "resources": resources,
        "securityContext": rights,
    }


def try_injection(context: Context) -> Object:
    """Return a pod like the web pods as admission webhooks make it of what is asked for: a dry run.

    Raises:
        RunbookError: There is no web workload.
        ClusterRefused: The API server refuses the pod, as when a webhook does not answer.
    """
    application = context.parameters.application
    workload = web.workload(context.cluster, context.parameters)
    if workload is None:
        where = ref(application.web.kind, application.web.name, application.namespace)
        raise RunbookError(f"there is no {where}", "correct application.web")
    pod = rollout.trial_pod(workload, "injection-check")
    return context.cluster.apply(pod, dry_run=True)


def check_new_pod(context: Context, *, injected: bool) -> Check:
    """Look whether a new pod would get a sidecar, or say why that cannot be told.

    Who may restart workloads need not be allowed to create pods, and a quota or an admission policy
    may refuse this one alone. Then only the pods that a workload creates show it.

    Args:
        context: Where.
        injected: Whether it should get one.

    Raises:
        RunbookError: There is no web workload that should get one.
        ClusterRefused: No pod at all can be created, as when a webhook does not answer.
    """
    subject = "sidecar of a new pod"
    try:
        found = pods.has_sidecar(try_injection(context))
    except ClusterRefused as error:
        if not refuses_this_pod_only(error):
            raise
        return Check(subject, f"cannot tell: {error.cause}", ok=None)
    except RunbookError as error:
        if injected:
            raise
        return Check(subject, f"cannot tell: {error.cause}", ok=None)
    return Check(subject, PROXY if found else "none", found is injected)


def check_webhook(context: Context) -> Check:
    """Look whether the API server reaches istiod's webhook, by a pod that asks for a sidecar.

    No namespace has to be labelled for it, and nothing is created.
    """
    subject = "sidecar by the webhook"
    namespace = context.parameters.application.namespace
    if context.cluster.get("v1", "Namespace", namespace) is None:
        namespace = "default"
    labels = marks(context.parameters.istio.revision, sidecar=True)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "webhook-check", "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "check", "image": "check"}]},
    }
    try:
        answer = context.cluster.apply(pod, dry_run=True)
    except ClusterRefused as error:
        if refuses_this_pod_only(error):
            return Check(subject, f"cannot tell: {error.cause}", ok=None)
        return Check(subject, f"{error.cause}; is TCP 15017 open to istiod's pods?", ok=False)
    found = pods.has_sidecar(answer)
    return Check(subject, PROXY if found else "none", found)


def refuses_this_pod_only(error: ClusterRefused) -> bool:
    """Whether pods that a workload creates may be accepted all the same."""
    answered = error.status < _SERVER_ERRORS and error.status != _BUSY
    return answered and _INJECTOR not in error.cause
