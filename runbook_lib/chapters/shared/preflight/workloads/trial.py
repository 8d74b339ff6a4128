"""Pods that would be refused with a sidecar: the old one would be deleted, and no new one come."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.base import ClusterRefused
from runbook_lib.chapters.shared.preflight.wording import kubectl, risk
from runbook_lib.chapters.shared.preflight.workloads.listed import Listed
from runbook_lib.cluster import Object, name_of, namespace_of, ref
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import injection

_POD_SECURITY = "violates PodSecurity"
_NUMBERS = "exceeded quota"
"""Of a pod that comes on top of those there are; `quotas` counts the sidecars alone."""

_MAY_NOT = "cannot create resource"

_NO_POD = "its pods would be deleted, and no new one could be created"


def refused(context: Context, each: Listed) -> Iterator[Finding]:
    """Try a workload's pod with a sidecar, and without one where that is refused.

    What is refused only with a sidecar is the sidecar's doing, and whatever Pod Security says
    counts. What is refused either way may be due to the trial, which is no workload's pod; a person
    has to say so.
    """
    refusal = _attempt(context, each.workload, sidecar=True)
    if refusal is None or _NUMBERS in refusal.cause:
        return
    if not injection.refuses_this_pod_only(refusal):
        yield _unanswered(context, refusal)
        return
    if _POD_SECURITY in refusal.cause:
        yield _by_pod_security(each, refusal)
        return
    bare = _attempt(context, each.workload, sidecar=False)
    if bare is not None:
        yield risk(context, "untried-pods", _untried(each, bare))
        return
    yield Finding(
        each.where,
        f"its pods would be refused with a sidecar, and are accepted without: {refusal.cause}",
        _NO_POD,
        "have whoever set that limit or policy allow the sidecar's two containers; where it is "
        "about resources, sidecars may ask for less",
        parameter="istio.istiod.values.global.proxy.resources",
    )


def _untried(each: Listed, refusal: ClusterRefused) -> Finding:
    if _MAY_NOT in refusal.cause:
        return Finding(
            each.where,
            f"it cannot be tried whether new pods of it would be accepted: {refusal.cause}",
            f"if they are not, {_NO_POD}",
            f"ask for the right to create pods in {namespace_of(each.workload)}: they are tried as "
            "dry runs alone",
        )
    return Finding(
        each.where,
        f"a pod like its own is refused, with a sidecar and without: {refusal.cause}",
        f"unless only a trial is refused, {_NO_POD}",
        "have whoever set that limit or policy allow the pods that are there now",
    )


def _by_pod_security(each: Listed, refusal: ClusterRefused) -> Finding:
    namespace = namespace_of(each.workload)
    label = "pod-security.kubernetes.io/enforce"
    return Finding(
        ref("Namespace", namespace),
        f"Pod Security would refuse the pods of {each.where} with a sidecar: {refusal.cause}",
        f"{_NO_POD}: istio-init adds NET_ADMIN and NET_RAW and runs as root",
        "have Istio's CNI plugin set up the traffic in place of istio-init; or allow it here: "
        + kubectl("label", "namespace", namespace, f"{label}=privileged", "--overwrite"),
        (f".metadata.labels.{label}",),
    )


def _unanswered(context: Context, refusal: ClusterRefused) -> Finding:
    """Find that the API server gets no answer from istiod, by which it then refuses every pod."""
    found = injection.injector(context)
    where = name_of(found) if found is not None else "istiod's"
    return Finding(
        ref("MutatingWebhookConfiguration", where),
        f"the API server asks istiod for the sidecar, and gets no answer: {refusal.cause}",
        "once the namespace is labelled, no new pod could be created in it",
        "let the API server reach istiod's pods on TCP 15017: on EKS by the nodes' security group. "
        "Look: " + kubectl("get", "mutatingwebhookconfiguration", where, "--output", "yaml"),
        (".webhooks[*].clientConfig.service.port",),
    )


def _attempt(context: Context, workload: Object, *, sidecar: bool) -> ClusterRefused | None:
    try:
        injection.attempt(context, workload, sidecar=sidecar)
    except ClusterRefused as refusal:
        return refusal
    return None
