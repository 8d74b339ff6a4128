"""Pods that can get no sidecar, and pods that do not go together with one that is not native."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.base import ClusterRefused
from runbook_lib.chapters.shared.preflight.nodes import OS, is_windows
from runbook_lib.chapters.shared.preflight.wording import few, risk
from runbook_lib.chapters.shared.preflight.workloads.listed import Listed
from runbook_lib.cluster import (
    INJECT,
    Object,
    annotations_of,
    labels_of,
    name_of,
    pods,
    ref,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.mesh import has_ended, injection, wants_sidecar

_FARGATE = "eks.amazonaws.com/fargate-profile"
"""The label of pods that EKS runs on Fargate."""

NATIVE = (
    "have native sidecars: istiod's ENABLE_NATIVE_SIDECARS unset, and all nodes of Kubernetes 1.33 "
    "or newer"
)

_NOT_STARTED = "no new pod would start: it may be replaced at any time"

_OUTSIDE = (
    f"mark its pod template with the label {INJECT}: 'false', which leaves it outside of the mesh, "
    "and application.restart_order without it"
)


def impossible(each: Listed) -> Iterator[Finding]:
    """Find fields by which a workload's pods never get a sidecar."""
    template = each.template
    where, effect = each.where, "its pods would stay outside of the mesh, however often restarted"
    leave_out = "or take it out of application.restart_order"
    if template["spec"].get("hostNetwork"):
        yield Finding(
            where,
            "its pods are on the host's network, where istiod injects nothing",
            effect,
            f"give them a network of their own; {leave_out}",
            (".spec.template.spec.hostNetwork: true",),
        )
    for section, marks in (
        ("labels", labels_of(template)),
        ("annotations", annotations_of(template)),
    ):
        if marks.get(INJECT) == "false":
            yield Finding(
                where,
                "its pods are marked to get no sidecar",
                effect,
                f"remove the mark from the pod template; {leave_out}",
                (f'.spec.template.metadata.{section}.{INJECT}: "false"',),
            )


def not_started(context: Context, each: Listed) -> Iterator[Finding]:
    """Find that a workload's pods would not start with a sidecar, by where they run."""
    yield from _on_fargate(each)
    yield from _on_windows(context, each)


def _on_fargate(each: Listed) -> Iterator[Finding]:
    if fargate := [pod for pod in each.pods if _FARGATE in labels_of(pod)]:
        yield Finding(
            each.where,
            f"its pods run on Fargate ({few([name_of(pod) for pod in fargate])}), which starts no "
            "container with NET_ADMIN, such as istio-init, and no DaemonSet, such as Istio's CNI "
            "plugin",
            _NOT_STARTED,
            f"have them run on nodes: change the Fargate profile that selects them; or {_OUTSIDE}",
            (f".metadata.labels.{_FARGATE}: {labels_of(fargate[0])[_FARGATE]}",),
        )


def _on_windows(context: Context, each: Listed) -> Iterator[Finding]:
    """Find that a workload's pods run on nodes of Windows, or are to.

    Istio has neither a sidecar nor an init container for it, see
    https://istio.io/latest/docs/releases/supported-releases/.
    """
    fields = _says_windows(".spec.template.spec", each.template["spec"])
    for pod in each.pods if not fields else ():
        fields += _says_windows(f"pod {name_of(pod)} .spec", pod["spec"])
    try:
        nodes = context.cluster.list("v1", "Node") if not fields else []
    except ClusterRefused:  # who may not look at nodes is told so where room is looked for
        nodes = []
    theirs = {name_of(node) for node in nodes if is_windows(node)}
    fields += [
        f"pod {name_of(pod)} .spec.nodeName: {pod['spec']['nodeName']}, of Windows"
        for pod in each.pods
        if pod["spec"].get("nodeName") in theirs
    ]
    if fields:
        yield Finding(
            each.where,
            "its pods run on Windows, for which Istio has no sidecar",
            _NOT_STARTED,
            _OUTSIDE,
            tuple(fields),
        )


def _says_windows(path: str, spec: Object) -> list[str]:
    selector, system = (spec.get("nodeSelector") or {}).get(OS), (spec.get("os") or {}).get("name")
    said = {f"nodeSelector[{OS}]": selector, "os.name": system}
    return [f"{path}.{field}: windows" for field, value in said.items() if value == "windows"]


def before_sidecars(context: Context, each: Listed) -> Iterator[Finding]:
    """Find init containers of a workload, where these run before its sidecar."""
    init = [
        container["name"]
        for container in each.template["spec"].get("initContainers") or []
        if container.get("restartPolicy") != "Always"
    ]
    is_native = injection.are_native(context, each.workload) if init else True
    if is_native:
        return
    told = "are not native" if is_native is False else "may not be native: it cannot be told"
    found = Finding(
        each.where,
        f"its init containers ({', '.join(init)}) run before the sidecar, as sidecars here {told}",
        "what they ask other pods of the mesh for, such as a database, they ask in plaintext, "
        "which STRICT refuses: at its next start the pod would wait for ever",
        f"{NATIVE}; or remove init containers that call others",
        (f".spec.template.spec.initContainers[*].name: {', '.join(init)}",),
    )
    yield risk(context, "init-containers", found)


def jobs(context: Context) -> Iterator[Finding]:
    """Find Jobs whose pods would never complete, as their sidecars do not end with them."""
    for workload, template in job_templates(context):
        if not wants_sidecar(template):
            continue
        like = {**workload, "spec": {"template": template}}
        is_native = injection.are_native(context, like)
        if is_native:
            continue
        told = "are not native" if is_native is False else "may not be native: it cannot be told"
        found = Finding(
            reference(workload),
            f"its pods would get sidecars that do not end by themselves, as sidecars here {told}",
            "such a pod runs on after its work is done, and the Job never completes",
            f"{NATIVE}; or mark its pod template with the label {INJECT}: 'false', which leaves "
            "it outside of the mesh",
        )
        yield risk(context, "jobs", found)


def ending(context: Context, pod: Object, kind: str, name: str) -> Finding:
    """Say that a Job's pod has no sidecar: it is left alone, and ends by itself."""
    namespace = context.parameters.application.namespace
    return Finding(
        f"{kind} {namespace}/{name}",
        f"its pod {name_of(pod)} has no sidecar, and ends by itself",
        "until then it speaks plaintext, which STRICT refuses",
        f"wait for it: kubectl --namespace {namespace} wait --for=condition=complete job/{name}",
        severity=Severity.NOTE,
    )


def without_sidecars(context: Context) -> list[str]:
    """Return what in the application's namespace makes pods that are to have no sidecar."""
    namespace = context.parameters.application.namespace
    found = [
        ref(*pods.workload_of(pod), namespace)
        for pod in context.cluster.list("v1", "Pod", namespace)
        if not has_ended(pod) and not wants_sidecar(pod) and not pods.has_sidecar(pod)
    ]
    found += [
        reference(workload)
        for workload, template in job_templates(context)
        if not wants_sidecar(template)
    ]
    return list(dict.fromkeys(found))


def job_templates(context: Context) -> Iterator[tuple[Object, Object]]:
    """Yield CronJobs, and Jobs of no CronJob that have not ended, with their pod templates."""
    namespace = context.parameters.application.namespace
    for cron in context.cluster.list("batch/v1", "CronJob", namespace):
        yield cron, cron["spec"]["jobTemplate"]["spec"]["template"]
    for job in context.cluster.list("batch/v1", "Job", namespace):
        status = job.get("status") or {}
        ended = "completionTime" in status or any(
            condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
            for condition in status.get("conditions") or []
        )
        if not ended and not job["metadata"].get("ownerReferences"):
            yield job, job["spec"]["template"]
