"""Rules about whoever else has a say when a pod is created: webhooks, policies and quotas."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.cluster import name_of
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
_LIMITS = "https://kubernetes.io/docs/concepts/policy/"
_SYMPTOM = "no new pod can be created in the namespace: restarts and scaling hang"


_rule = partial(registry.rule, registry.Area.INJECTION, "02_label_namespace")


@_rule(order=40, needs=("workloads", "pods", "events"))
def other_webhook_unreachable(seen: Observation) -> Iterator[Cause]:
    """The API server cannot call a webhook that is not Istio's, and so refuses new pods."""
    said, _ = _said_of_real_pods(seen)
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


@_rule(order=50, needs=("workloads", "pods", "events"), uses=("limits",))
def pods_refused(seen: Observation) -> Iterator[Cause]:
    """Somebody answers, and refuses the application's pods."""
    said, lacking = _said_of_real_pods(seen)
    denial = refusal.denial(said, seen.namespace, seen.limits)
    if denial is None:
        return
    namespace = seen.parameters.application.namespace
    remedy = f"have {denial.who} allow the pods of {namespace}; it says why"
    link = _WEBHOOKS
    if denial.kind == refusal.POD_SECURITY:
        link = _POD_SECURITY
        remedy = (
            "install the chart istio-cni, with which sidecars need no privileges, or allow them: "
            f"kubectl label namespace {namespace} "
            "pod-security.kubernetes.io/enforce=privileged --overwrite"
            if "istio-" in said
            else f"have the pods keep to it, or label the namespace otherwise: {_POD_SECURITY}"
        )
    elif denial.kind in refusal.NUMBERS:
        link = _LIMITS
        remedy = (
            f"raise it: kubectl --namespace {namespace} edit {denial.resource}; "
            "or have sidecars ask for less: istio.istiod.values.global.proxy.resources"
        )
    answers = [answer for name in lacking for answer in seen.failed_by(name)]
    away = f"{', '.join(lacking)} has too few pods" if lacking else _SYMPTOM
    yield Cause(
        denial.who,
        f"{denial.who} refuses new pods",
        f"{away}: {answers[0].text}" if answers else away,
        remedy,
        (*denial.fields, said),
        link=link,
        outside=bool(answers),
    )


def _said_of_real_pods(seen: Observation) -> tuple[str, list[str]]:
    """Return what the API server says against real pods, and the workloads that lack some.

    Those that the parameters list come first. What it says is empty if there is nothing.
    """
    listed = [workload for _, _, workload in seen.wanted_workloads() if workload is not None]
    every = [*listed, *(each for each in seen.workloads if each not in listed)]
    refused = {
        name_of(workload): failures[-1]
        for workload in every
        if len(pods_of(seen, workload)) < wanted_pods(workload)
        and (failures := creation_failures(seen, workload))
    }
    if refusal.holds_for_real_pods(seen.refusal):
        return seen.refusal, list(refused)
    return next(iter(refused.values()), ""), list(refused)
