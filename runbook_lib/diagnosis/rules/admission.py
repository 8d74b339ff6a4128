"""Rules about whoever else has a say when a pod is created: webhooks, policies and quotas."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.diagnosis import (
    Cause,
    Observation,
    creation_failures,
    pods_of,
    refusal,
    registry,
    wanted_pods,
)

_WEBHOOKS = (
    "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/"
)
_POD_SECURITY = "https://kubernetes.io/docs/concepts/security/pod-security-admission/"
_SYMPTOM = "no new pod can be created in the namespace: restarts and scaling hang"


_rule = partial(registry.rule, registry.Area.INJECTION, "02_label_namespace")


@_rule(order=40, needs=("workloads", "pods", "events"))
def other_webhook_unreachable(seen: Observation) -> Iterator[Cause]:
    """The API server cannot call a webhook that is not Istio's, and so refuses new pods."""
    said = _said_of_real_pods(seen)
    webhook = refusal.unanswered(said)
    if not webhook or webhook.endswith(refusal.INJECTOR):
        return
    service = refusal.service(said)
    look = (
        f"kubectl --namespace {service[0]} get endpointslices --selector "
        f"kubernetes.io/service-name={service[1]}"
        if service
        else "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations"
    )
    yield Cause(
        f"webhook {webhook}",
        f"the API server does not reach the admission webhook {webhook}, which is not Istio's",
        _SYMPTOM,
        f"bring back what serves it, or delete its configuration if it is not needed: {look}",
        (said,),
        link=_WEBHOOKS,
    )


@_rule(order=50, needs=("workloads", "pods", "events"))
def pods_refused(seen: Observation) -> Iterator[Cause]:
    """Somebody answers, and refuses the application's pods."""
    said = _said_of_real_pods(seen)
    who = refusal.denier(said)
    if not who:
        return
    remedy = f"have {who} allow the pods of {seen.parameters.application.namespace}; it says why"
    cause, link = f"{who} refuses new pods", _WEBHOOKS
    if who.startswith(refusal.POD_SECURITY):
        link = _POD_SECURITY
        remedy = (
            "install the chart istio-cni, with which sidecars need no privileges, or allow them: "
            f"kubectl label namespace {seen.parameters.application.namespace} "
            "pod-security.kubernetes.io/enforce=privileged --overwrite"
            if "istio-" in said
            else f"have the pods keep to it, or label the namespace otherwise: {_POD_SECURITY}"
        )
    yield Cause(
        who,
        cause,
        _SYMPTOM,
        remedy,
        (said,),
        link=link,
    )


def _said_of_real_pods(seen: Observation) -> str:
    """Return what the API server says against the application's own pods; empty if nothing."""
    if refusal.holds_for_real_pods(seen.refusal):
        return seen.refusal
    failures = [
        text
        for _, _, workload in seen.wanted_workloads()
        if workload is not None and len(pods_of(seen, workload)) < wanted_pods(workload)
        for text in creation_failures(seen, workload)
    ]
    return failures[-1] if failures else ""
