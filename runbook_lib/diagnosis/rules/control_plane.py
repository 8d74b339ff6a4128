"""Rules about istiod and the webhook through which it injects sidecars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from runbook_lib.cluster import (
    INJECTION_LABEL,
    REVISION_LABEL,
    Object,
    matches,
    name_of,
    pods,
    ref,
    reference,
)
from runbook_lib.diagnosis import Cause, Observation, registry
from runbook_lib.lifecycle import Severity
from runbook_lib.mesh import revisions, wants_sidecar
from runbook_lib.mesh.policy import serves, spec_of

_DOCS = "https://istio.io/latest/docs/ops/common-problems"
_HTTPS = 443
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
    if (revision := seen.resolved.istio.revision) != revisions.DEFAULT:
        remedy += f"; if {revision} was a tag, set it again: istioctl tag set {revision}"
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
    return f"app=istiod,{REVISION_LABEL}={seen.resolved.istio.revision}"


def _no_istiod(seen: Observation) -> str:
    return f"no Deployment with the labels {_labels(seen)}"


@_rule(
    order=20,
    needs=("injection", "webhooks", "istiod"),
    uses=("istio_services",),
    explained_by=("istiod-down", "security-group-closes"),
)
def webhook_unreachable(seen: Observation) -> Iterator[Cause]:
    """The API server cannot call istiod's webhook, and so refuses new pods."""
    if seen.injection is None or not seen.injection.refused:
        return
    istio = seen.parameters.istio.namespace
    astray = [(hook, why) for hook in _hooks(seen) if (why := hook.astray(seen))]
    shown = [hook.field for hook, _ in astray] or [hook.field for hook in _hooks(seen)]
    if astray:
        cause = f"the injection webhook points to what is not istiod's: {astray[0][1]}"
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
        (seen.injection.refused, *shown[:1]),
        link=_INJECTION,
    )


@_rule(
    order=30,
    needs=("injection", "webhooks", "istiod"),
    uses=("workloads",),
    explained_by=("istiod-down", "pod-opts-out", "injector-leaves-out", "namespace-not-discovered"),
)
def webhook_missing(seen: Observation) -> Iterator[Cause]:
    """The namespace asks for sidecars, and a new pod gets none."""
    if not seen.is_labelled or seen.injection is None:
        return
    if seen.injection.injected or seen.injection.refused or not _web_wants_sidecar(seen):
        return
    name = seen.parameters.application.namespace
    key = INJECTION_LABEL if INJECTION_LABEL in seen.labels else REVISION_LABEL
    asked = f"Namespace {name} .metadata.labels.{key}: {seen.labels.get(key)}"
    if not seen.istiod and not seen.webhooks:
        yield Cause(
            ref("Namespace", name),
            "Istio is not installed yet",
            "pods of a labelled namespace start without a sidecar (1/1)",
            "run notebook 01_install_istio, then 02_label_namespace",
            (asked, _no_istiod(seen)),
            link=_INJECTION,
            severity=Severity.NOT_DONE,
        )
        return
    there = ", ".join(name_of(item) for item in seen.webhooks) or "none"
    evidence = f"MutatingWebhookConfigurations that inject: {there}"
    asking = [hook for hook in _hooks(seen) if hook.asks(seen)]
    if not seen.webhooks:
        cause = "the MutatingWebhookConfiguration that injects sidecars is gone"
    elif not asking:
        cause = "no injection webhook selects the namespace"
    elif lax := [h for h in asking if h.content.get("failurePolicy") == "Ignore"]:
        cause = "the injection webhook is asked, and its failure is ignored"
        evidence = lax[0].text("failurePolicy: Ignore")
    else:
        cause = "the injection webhook is asked, and istiod puts no sidecar in"
        evidence = asking[0].field
    yield Cause(
        ref("Namespace", name),
        cause,
        "new pods of the namespace start without a sidecar; those that run are not touched",
        "run notebook 01_install_istio again: its step install-istiod shows what is missing; "
        f"look: istioctl x check-inject --namespace {name}",
        (asked, evidence),
        link=_INJECTION,
    )


@dataclass(frozen=True)
class _Hook:
    """One webhook of a configuration that injects.

    Attributes:
        item: The configuration.
        number: Which of its webhooks.
        content: The webhook.
    """

    item: Object
    number: int
    content: Object

    def text(self, field: str) -> str:
        return reference(self.item, f".webhooks[{self.number}].{field}")

    @property
    def service(self) -> Object:
        """The Service that is asked; empty where it is a URL."""
        found: Object = (self.content.get("clientConfig") or {}).get("service") or {}
        return found

    @property
    def field(self) -> str:
        """What is asked."""
        to = self.service
        if not to:
            return self.text(f"clientConfig.url: {self.content['clientConfig'].get('url')}")
        whole = f"{to['namespace']}/{to['name']}, port {to.get('port', _HTTPS)}"
        return self.text(f"clientConfig.service: {whole}")

    def astray(self, seen: Observation) -> str:
        """Return why no istiod is behind what is asked, as far as its Service shows."""
        to, home = self.service, seen.parameters.istio.namespace
        if not to or "istio_services" in seen.unseen:
            return ""
        where = ref("Service", to["name"], to["namespace"])
        if to["namespace"] != home:
            return where
        live = next((s for s in seen.istio_services if name_of(s) == to["name"]), None)
        if live is None:
            return f"there is no {where}"
        ports = [port["port"] for port in spec_of(live).get("ports") or []]
        if to.get("port", _HTTPS) not in ports:
            return f"{where} has no port {to.get('port', _HTTPS)}"
        behind = [pod for pod in seen.istiod_pods if serves(live, pod)]
        return "" if behind or not seen.istiod_pods else f"{where} leads to no pod of istiod"

    def asks(self, seen: Observation) -> bool:
        """Whether it is asked about pods of the application's namespace that say nothing."""
        labels = {"kubernetes.io/metadata.name": seen.parameters.application.namespace}
        return matches(
            self.content.get("namespaceSelector") or {}, {**labels, **seen.labels}
        ) and matches(self.content.get("objectSelector") or {}, seen.selection.carried or {})


def _hooks(seen: Observation) -> list[_Hook]:
    return [_Hook(i, n, hook) for i in seen.webhooks for n, hook in enumerate(i["webhooks"])]


def _web_wants_sidecar(seen: Observation) -> bool:
    """Whether the template that was tried says no to a sidecar by itself."""
    web = seen.parameters.application.web
    workload = seen.workload(web.kind, web.name)
    return workload is None or wants_sidecar(workload["spec"]["template"])
