"""Look at the HorizontalPodAutoscalers of the application: objects, pods and live usage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from runbook_lib.base import ClusterRefused, KindNotInstalled, RunbookError
from runbook_lib.chapters.autoscaling.cases import Autoscaler, Condition, ScaleOut
from runbook_lib.chapters.autoscaling.scale_out import (
    RESOURCES,
    Item,
    Metric,
    Remedy,
    Requests,
    Scaling,
    Usage,
    amount,
    requests_of,
    scalings,
)
from runbook_lib.cluster import (
    APPS,
    FIELD_MANAGER,
    PROXY,
    Object,
    annotations_of,
    name_of,
    namespace_of,
    pods,
    reference,
)
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import rollout

API, KIND = "autoscaling/v2", "HorizontalPodAutoscaler"

METRICS_API = "metrics.k8s.io/v1beta1"

METRICS_BEFORE = "istio-runbook/metrics-before"
"""The annotation that keeps an autoscaler's metrics as they were, as JSON."""

PodUsages = dict[str, dict[str, dict[str, int]]]
"""Amounts by pod, container and resource."""


class KeptMetricsDamaged(RunbookError):
    """Nobody knows any more which metrics an autoscaler had before the runbook."""


def survey(context: Context) -> ScaleOut:
    """Return the namespace's autoscalers, and where they scale out."""
    parameters = context.parameters
    usages = _usages(context)
    return ScaleOut(
        parameters.application.namespace,
        tuple(_read(context, each, usages) for each in objects(context)),
        Remedy(parameters.autoscaling.remedy),
        {name: amount(name, getattr(parameters.autoscaling.proxy, name)) for name in RESOURCES},
    )


def objects(context: Context) -> list[Object]:
    """Return the namespace's HorizontalPodAutoscalers by name."""
    found = context.cluster.list(API, KIND, context.parameters.application.namespace)
    return sorted(found, key=lambda each: str(name_of(each)))


def metrics_before(autoscaler: Object) -> list[Item]:
    """Return an autoscaler's metrics from before the runbook; none if it never changed them.

    Raises:
        KeptMetricsDamaged: The annotation that keeps them is not what the runbook wrote.
    """
    annotations = annotations_of(autoscaler)
    try:
        kept: list[Item] = json.loads(annotations.get(METRICS_BEFORE, "[]"))
        if not isinstance(kept, list):
            raise TypeError(f"a list was expected, not {type(kept).__name__}")
        for item in kept:
            Metric.of(item)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise KeptMetricsDamaged(
            f"{reference(autoscaler)}: the annotation {METRICS_BEFORE} is no list of metrics "
            f"({type(error).__name__}: {error})",
            "write the metrics that it should have without sidecars into spec.metrics, and remove "
            f"the annotation: kubectl --namespace {namespace_of(autoscaler)} annotate hpa "
            f"{name_of(autoscaler)} {METRICS_BEFORE}-; then run this again",
        ) from error
    return kept


def judge(context: Context, autoscaler: Object) -> tuple[Scaling, ...]:
    """Return how an autoscaler judges CPU and memory, leaving live usage out.

    Raises:
        KeptMetricsDamaged: What it should be compared with cannot be read.
    """
    return _scalings(context, autoscaler, target_of(context, autoscaler), {})


def target_of(context: Context, autoscaler: Object) -> Object | None:
    """Return the workload that an autoscaler scales; None if there is none."""
    wanted = autoscaler["spec"]["scaleTargetRef"]
    namespace = namespace_of(autoscaler)
    try:
        return context.cluster.get(
            wanted.get("apiVersion", APPS), wanted["kind"], wanted["name"], namespace
        )
    except KindNotInstalled:
        return None


def target_name(autoscaler: Object) -> str:
    """Return the workload that an autoscaler names, as `Kind/name`."""
    wanted = autoscaler["spec"]["scaleTargetRef"]
    return f"{wanted['kind']}/{wanted['name']}"


def other_managers(autoscaler: Object) -> tuple[tuple[str, str], ...]:
    """Return who else manages an autoscaler's metrics, and by which operation."""
    return tuple(each for each in _managers(autoscaler) if each[0] != FIELD_MANAGER)


def managed_by_runbook(autoscaler: Object) -> bool:
    """Whether an autoscaler's metrics are those that the runbook applied."""
    return any(manager == FIELD_MANAGER for manager, _ in _managers(autoscaler))


def _managers(autoscaler: Object) -> Iterator[tuple[str, str]]:
    # Through autoscaling/v1 the CPU target goes by another name.
    names = ("f:metrics", "f:targetCPUUtilizationPercentage")
    for entry in autoscaler["metadata"].get("managedFields") or []:
        fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        if any(name in fields for name in names) and not entry.get("subresource"):
            yield entry["manager"], entry["operation"]


def made_through_v1(autoscaler: Object) -> bool:
    """Whether whoever manages an autoscaler's target writes it in the version v1."""
    return any(
        entry["apiVersion"] == "autoscaling/v1"
        and "f:targetCPUUtilizationPercentage" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in autoscaler["metadata"].get("managedFields") or []
    )


def condition(autoscaler: Object, kind: str) -> Condition:
    """Return one of an autoscaler's conditions; an unknown one if it is not there."""
    for each in (autoscaler.get("status") or {}).get("conditions") or []:
        if each["type"] == kind:
            return Condition(kind, each["status"], each.get("reason", ""), each.get("message", ""))
    return Condition(kind, "Unknown", "", "the controller has not looked at it yet")


def metrics_api_missing(context: Context) -> bool:
    """Whether the cluster has no metrics API at all."""
    try:
        context.cluster.list(METRICS_API, "PodMetrics", context.parameters.application.namespace)
    except KindNotInstalled:
        return True
    except ClusterRefused:
        pass  # it may not be read, or does not answer: it is there
    return False


def _read(context: Context, autoscaler: Object, usages: PodUsages) -> Autoscaler:
    target = target_of(context, autoscaler)
    status = autoscaler.get("status") or {}
    current, desired = status.get("currentReplicas", 0), status.get("desiredReplicas", 0)
    spec = autoscaler["spec"]
    limits = f"{spec.get('minReplicas', 1)} to {spec['maxReplicas']}"
    broken = () if target is not None else (f"there is no {target_name(autoscaler)}",)
    try:
        judged = _scalings(context, autoscaler, target, usages)
    except KeptMetricsDamaged as error:
        judged, broken = (), (error.cause, *broken)
    conditions = (condition(autoscaler, kind) for kind in ("AbleToScale", "ScalingActive"))
    return Autoscaler(
        name_of(autoscaler),
        target_name(autoscaler),
        tuple(map(Metric.of, spec.get("metrics") or [])),
        judged,
        f"{current}, wants {desired} ({limits})",
        tuple(each for each in conditions if not each.holds),
        broken,
    )


def _scalings(
    context: Context, autoscaler: Object, target: Object | None, usages: PodUsages
) -> tuple[Scaling, ...]:
    if target is None:
        return ()
    running = _pods(context, target)
    template = target["spec"].get("template", {}).get("spec")
    # The newest with a sidecar: the others are about to be replaced.
    pod = max(running, key=_preference, default={"spec": None})["spec"]
    if template is None and pod is None:
        return ()
    requests = {name: requests_of(name, template, pod) for name in RESOURCES}
    usage = {
        name: found
        for name in RESOURCES
        if (found := _usage(usages, running, name, requests[name])) is not None
    }
    items = autoscaler["spec"].get("metrics") or []
    return scalings(items, metrics_before(autoscaler), requests, usage)


def _pods(context: Context, target: Object) -> list[Object]:
    if not target["spec"].get("selector"):
        return []
    found = rollout.pods_of(context, target)
    return [pod for pod in found if not pods.is_leaving(pod)]


def _preference(pod: Object) -> tuple[bool, str]:
    return pods.has_sidecar(pod), pod["metadata"]["creationTimestamp"]


def _usages(context: Context) -> PodUsages:
    """Return what the namespace's pods use; nothing where the metrics API does not say."""
    namespace = context.parameters.application.namespace
    try:
        found = context.cluster.list(METRICS_API, "PodMetrics", namespace)
    except (KindNotInstalled, ClusterRefused):
        return {}
    return {
        name_of(item): {
            container["name"]: {
                name: amount(name, container["usage"][name])
                for name in RESOURCES
                if name in container["usage"]
            }
            for container in item["containers"]
        }
        for item in found
    }


def _usage(
    usages: PodUsages, running: Sequence[Object], resource: str, requests: Requests
) -> Usage | None:
    known = [found for pod in running if (found := usages.get(name_of(pod)))]
    if not known:
        return None
    own = added = 0
    for containers in known:
        for name, used in containers.items():
            if name in requests.application:
                own += used.get(resource, 0)
            elif name in requests.added or name == PROXY:
                added += used.get(resource, 0)
    return Usage(round(own / len(known)), round(added / len(known)))
