"""Rules about istiod and the webhook through which it injects sidecars."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.cluster import REVISION_LABEL, Object, name_of, pods, ref, reference
from runbook_lib.diagnosis import Cause, Observation, registry
from runbook_lib.lifecycle import Severity
from runbook_lib.mesh import injection_label

_DOCS = "https://istio.io/latest/docs/ops/common-problems"
_INJECTION = f"{_DOCS}/injection/"


_rule = partial(registry.rule, registry.Area.CONTROL_PLANE, "01_install_istio")


@_rule(order=10, needs=("istiod", "istiod_pods", "pods", "webhooks"))
def istiod_down(seen: Observation) -> Iterator[Cause]:
    """No pod of istiod is ready, in a mesh that has one or once had one."""
    if any(pods.is_ready(pod) for pod in seen.istiod_pods):
        return
    istio = seen.parameters.istio.namespace
    if not seen.istiod and not (seen.in_mesh or seen.webhooks):
        return  # not installed yet
    evidence = [f"{_no_istiod(seen)} in {istio}"] if not seen.istiod else []
    cause, remedy = "istiod is not there", "run notebook 01_install_istio again"
    for deployment in seen.istiod:
        name, replicas = name_of(deployment), deployment["spec"].get("replicas", 1)
        evidence.append(reference(deployment, f".spec.replicas: {replicas}"))
        if replicas == 0:
            cause = "istiod is scaled to 0"
            remedy = f"kubectl --namespace {istio} scale deployment/{name} --replicas=1"
        else:
            cause = "istiod does not become ready"
            remedy = f"kubectl --namespace {istio} describe pods --selector {_labels(seen)}"
    evidence += [f"Pod {istio}/{pods.describe(pod)}" for pod in seen.istiod_pods]
    yield Cause(
        f"istiod in {istio}",
        cause,
        "sidecars get no new configuration or certificates, and no new pod can be created in "
        "labelled namespaces; what runs goes on with what it has, for 24 hours",
        remedy,
        tuple(evidence),
        link="https://istio.io/latest/docs/ops/diagnostic-tools/proxy-cmd/",
    )


def _labels(seen: Observation) -> str:
    return f"app=istiod,{REVISION_LABEL}={seen.parameters.istio.revision}"


def _no_istiod(seen: Observation) -> str:
    return f"no Deployment with the labels {_labels(seen)}"


@_rule(order=20, needs=("injection", "webhooks", "istiod"), explained_by=("istiod-down",))
def webhook_unreachable(seen: Observation) -> Iterator[Cause]:
    """The API server cannot call istiod's webhook, and so refuses new pods."""
    if seen.injection is None or not seen.injection.refused:
        return
    istio = seen.parameters.istio.namespace
    services = [
        f"{reference(item)} .webhooks[{number}].clientConfig.service: "
        f"{service['namespace']}/{service['name']}"
        for item in seen.webhooks
        for number, hook in enumerate(item["webhooks"])
        if (service := (hook.get("clientConfig") or {}).get("service"))
        and _wrong_service(seen, service)
    ]
    if services:
        cause = "the injection webhook points to a Service that is not istiod's"
        remedy = (
            f"restore it: helm get manifest {seen.parameters.istio.istiod.release} "
            f"--namespace {istio} | kubectl apply --server-side --force-conflicts --filename -"
        )
    elif "x509" in seen.injection.refused:
        cause = "the API server does not trust the certificate of istiod's injection webhook"
        remedy = (
            "restart istiod, which writes its certificate authority into the webhook: kubectl "
            f"--namespace {istio} rollout restart deployment --selector {_labels(seen)}"
        )
    else:
        cause = "the API server does not reach istiod's injection webhook"
        remedy = (
            "open port 15017 from the control plane's security group to the nodes, and check: "
            f"kubectl --namespace {istio} get endpointslices --selector {_labels(seen)}"
        )
    yield Cause(
        "injection webhook",
        cause,
        "no new pod can be created in the namespace: restarts and scaling hang",
        remedy,
        (seen.injection.refused, *services[:1]),
        link=_INJECTION,
    )


def _wrong_service(seen: Observation, service: Object) -> bool:
    istiod = {name_of(deployment) for deployment in seen.istiod}
    where = seen.parameters.istio.namespace
    return service.get("namespace") != where or service.get("name") not in istiod | {"istiod"}


@_rule(order=30, needs=("injection", "webhooks", "istiod"), explained_by=("istiod-down",))
def webhook_missing(seen: Observation) -> Iterator[Cause]:
    """The namespace asks for sidecars, and nothing answers."""
    key, value = injection_label(seen.parameters)
    if seen.labels.get(key) != value or seen.injection is None:
        return
    if seen.injection.injected or seen.injection.refused:
        return
    asked = f"Namespace {seen.parameters.application.namespace} .metadata.labels.{key}: {value}"
    if not seen.istiod and not seen.webhooks:
        yield Cause(
            ref("Namespace", seen.parameters.application.namespace),
            "Istio is not installed yet",
            "pods of a labelled namespace start without a sidecar (1/1)",
            "run notebook 01_install_istio, then 02_label_namespace",
            (asked, _no_istiod(seen)),
            link=_INJECTION,
            severity=Severity.NOT_DONE,
        )
        return
    there = ", ".join(name_of(item) for item in seen.webhooks) or "none"
    if seen.webhooks:
        cause = "no injection webhook selects the namespace"
    else:
        cause = "the MutatingWebhookConfiguration that injects sidecars is gone"
    yield Cause(
        ref("Namespace", seen.parameters.application.namespace),
        cause,
        "new pods of the namespace start without a sidecar; those that run are not touched",
        "run notebook 01_install_istio again: its step install-istiod shows what is missing; "
        f"look: istioctl x check-inject --namespace {seen.parameters.application.namespace}",
        (asked, f"MutatingWebhookConfigurations that inject: {there}"),
        link=_INJECTION,
    )
