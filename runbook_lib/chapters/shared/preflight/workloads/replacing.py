"""Pods that Kubernetes would not replace, or not while their volume is in use."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.chapters.shared.preflight.wording import kubectl, risk
from runbook_lib.chapters.shared.preflight.workloads.listed import Listed
from runbook_lib.cluster import labels_of, matches, name_of, namespace_of, pods, reference
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.mesh import of_replacement, patience

_REVISION = "controller-revision-hash"

_RECREATE = '{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}'

_SLACK = 120
"""Seconds beyond its probes that a pod may take, for its image and its volumes."""


LEFT_BEHIND = "left-behind"
"""What a pod is that is not ready, and of an older template than its StatefulSet's."""


def stuck(each: Listed) -> Iterator[Finding]:
    """Find a pod that its StatefulSet waits for, and will not replace.

    One pod after the other is replaced, and only while all others are ready; a pod that never
    becomes ready by its old template is therefore never replaced by a new one, see
    https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback.
    """
    spec, status = each.workload["spec"], each.workload.get("status") or {}
    if each.workload["kind"] != "StatefulSet":
        return
    if spec.get("podManagementPolicy", "OrderedReady") != "OrderedReady":
        return
    newest = status.get("updateRevision")
    for pod in each.pods:
        if pods.is_ready(pod) or pods.is_leaving(pod):
            continue
        name, revision = name_of(pod), labels_of(pod).get(_REVISION)
        outdated = newest is not None and revision is not None and revision != newest
        late = pods.age(pod) > _SLACK + patience.seconds_to_start(each.template)
        why = pods.why_not_ready(pod)
        delete = kubectl("--namespace", namespace_of(pod), "delete", "pod", name)
        if not (outdated or late):
            yield Finding(
                reference(pod),
                f"is not ready yet: {why}",
                f"{each.where} replaces no pod before it is",
                "wait until it is ready",
                severity=Severity.NOTE,
            )
            continue
        yield Finding(
            reference(pod),
            f"is not ready ({why}), and {each.where} replaces a pod only once all are",
            "the restart would wait in vain: Kubernetes never replaces this pod by itself",
            "find out why it is not ready; if its template has been mended since, have it made "
            f"anew: {delete}",
            (
                f".metadata.labels.{_REVISION}: {revision}",
                f"{each.where} .status.updateRevision: {newest}",
            )
            if outdated
            else (f"{each.where} .spec.podManagementPolicy: OrderedReady",),
            name=LEFT_BEHIND if outdated else "",
        )


def contended(context: Context, each: Listed) -> Iterator[Finding]:
    """Find a volume for one node that a Deployment's old and new pod would both need."""
    surge = patience.max_surge(each.workload)
    if surge == 0:
        return
    for volume in each.template["spec"].get("volumes") or []:
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim is None:
            continue
        found = context.cluster.get(
            "v1", "PersistentVolumeClaim", claim, namespace_of(each.workload)
        )
        modes = (found or {}).get("spec", {}).get("accessModes") or []
        if not modes or {"ReadWriteMany", "ReadOnlyMany"} & {*modes}:
            continue
        yield risk(
            context,
            "shared-volume",
            Finding(
                each.where,
                f"starts a new pod before the old one ends, and both mount {claim}, a volume for "
                "one node",
                "on another node the new pod waits for the volume, and the old one for the new",
                "have the old one end first: kubectl --namespace "
                f"{namespace_of(each.workload)} patch deployment {name_of(each.workload)} "
                f"--type merge --patch '{_RECREATE}'",
                (
                    f".spec.strategy.rollingUpdate.maxSurge: {surge}",
                    f"PersistentVolumeClaim {claim} .spec.accessModes: {', '.join(modes)}",
                ),
            ),
        )


def away(context: Context, each: Listed) -> Iterator[Finding]:
    """Say for how long a workload is away while its pods are replaced."""
    if not each.lacking:
        return
    lost = [each.what for each in of_replacement(context, each.workload)]
    # By its probes: how long the last start took would differ from one look to the next.
    seconds = round(patience.seconds_to_replace(each.workload))
    effect = "; ".join(
        [*(lost or ["its pods are replaced in turn"]), f"within {seconds} s by its probes"]
    )
    budgets = [
        name_of(budget)
        for budget in context.cluster.list(
            "policy/v1", "PodDisruptionBudget", namespace_of(each.workload)
        )
        if "selector" in budget["spec"]
        and matches(budget["spec"]["selector"], labels_of(each.template))
    ]
    if budgets:
        effect += (
            f"; PodDisruptionBudget {', '.join(budgets)} does not hold a restart up: it is about "
            "evictions"
        )
    yield Finding(
        each.where,
        "will be restarted for its sidecar",
        effect,
        "choose a time when that may be",
        severity=Severity.NOTE,
    )
