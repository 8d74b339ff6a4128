"""Autoscalers that others keep as they are, and others who decide about the same requests."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from runbook_lib.base import ClusterRefused, KindNotInstalled
from runbook_lib.chapters.autoscaling import autoscalers, remedies
from runbook_lib.chapters.autoscaling.scale_out import RESOURCES, Item, Metric, Remedy
from runbook_lib.chapters.shared import preflight
from runbook_lib.cluster import (
    PROXY,
    Object,
    labels_of,
    name_of,
    namespace_of,
    ref,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Severity

_SCALED_OBJECT = "ScaledObject"
_KEDA_LABEL = "scaledobject.keda.sh/name"
"""KEDA puts it on what it makes, see https://keda.sh/docs/latest/reference/scaledobject-spec/."""

_VERTICAL = ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler")
_REPLACING = ("Auto", "Recreate", "InPlaceOrRecreate")
"""Update modes in which requests of running pods change; the default is the first."""

_METRICS = ("spec.metrics", "spec.targetCPUUtilizationPercentage")
"""The second is what the first is called in autoscaling/v1."""


def obstacles(context: Context, remedy: Remedy) -> Iterator[Finding]:
    """Find who would set a remedy back, or make it wrong.

    Args:
        context: Where to look.
        remedy: The one of the parameters.
    """
    if remedy is Remedy.SIDECAR_REQUESTS:
        for live in autoscalers.objects(context):
            if any(scaling.needs_remedy for scaling in autoscalers.judge(context, live)):
                yield from _template_kept(context, live)
                yield from _vertical(context, live, remedy)
        return
    for live, manifest in remedies.manifests(context, remedy):
        metrics: list[Item] = manifest["spec"]["metrics"]
        if owner := _controller(live):
            yield _made_by(context, live, owner, metrics)
        else:
            change = f"spec.metrics: {_flow(metrics)}"
            yield from preflight.set_back(context, live, _METRICS, change, forced=True)
        yield from _vertical(context, live, remedy)


def _controller(autoscaler: Object) -> tuple[str, str, str] | None:
    """Return kind and name of what made an autoscaler, and the field that shows it."""
    for each in autoscaler["metadata"].get("ownerReferences") or []:
        if each.get("controller"):
            sign = f".metadata.ownerReferences: {each['kind']} {each['name']}"
            return each["kind"], each["name"], sign
    name = labels_of(autoscaler).get(_KEDA_LABEL)
    return (_SCALED_OBJECT, name, f".metadata.labels.{_KEDA_LABEL}: {name}") if name else None


def _made_by(
    context: Context, autoscaler: Object, owner: tuple[str, str, str], metrics: list[Item]
) -> Finding:
    """Say that a controller made an autoscaler, and what to change in its place."""
    kind, name, sign = owner
    namespace = namespace_of(autoscaler)
    other = "; or leave the autoscaler alone, with autoscaling.remedy: sidecar-requests"
    if kind == _SCALED_OBJECT:
        triggers = [t for t in map(_trigger, metrics) if t]
        found = Finding(
            reference(autoscaler),
            f"KEDA made it of {ref(kind, name, namespace)}",
            "KEDA writes spec.metrics anew from the triggers, so what this step changes is set "
            "back within seconds",
            f"change its triggers, and leave 03_autoscaling out: kubectl --namespace {namespace} "
            f"edit scaledobject {name}, for spec.triggers to have {_flow(triggers)} in place of "
            f"those for {' and '.join(dict.fromkeys(t['type'] for t in triggers))}{other}",
            (sign,),
            link="https://keda.sh/docs/latest/scalers/cpu/",
        )
    else:
        found = Finding(
            reference(autoscaler),
            f"the controller of {ref(kind, name, namespace)} made it",
            "a controller that writes its objects anew sets spec.metrics back",
            f"have it make these metrics, and leave 03_autoscaling out: kubectl --namespace "
            f"{namespace} edit {kind.lower()} {name}, for spec.metrics: {_flow(metrics)}{other}",
            (sign,),
        )
    return preflight.risk(context, "set-back", found)


def _trigger(item: Item) -> Item | None:
    """Return the trigger of which KEDA makes a metric; None if it is not about CPU or memory."""
    kind = str(item["type"])
    metric = Metric.of(item)
    if kind not in ("Resource", "ContainerResource"):
        return None
    target = item[kind[:1].lower() + kind[1:]]["target"]
    percent = target.get("averageUtilization")
    value = str(target["averageValue"] if percent is None else percent)
    named = {"containerName": metric.container} if metric.container else {}
    return {
        "type": metric.name,
        "metricType": "AverageValue" if percent is None else "Utilization",
        "metadata": {**named, "value": value},
    }


def _template_kept(context: Context, autoscaler: Object) -> Iterator[Finding]:
    """Find that what scales with smaller sidecars is kept as Git has it."""
    target = autoscalers.target_of(context, autoscaler)
    if target is not None:
        change = "spec.template.metadata.annotations for the sidecar's requests, as the plan shows"
        yield from preflight.set_back(context, target, (), change, forced=True)


def _vertical(context: Context, autoscaler: Object, remedy: Remedy) -> Iterator[Finding]:
    """Find a VerticalPodAutoscaler that changes the requests by which an autoscaler decides."""
    looks_at = {m.about for m in map(Metric.of, autoscaler["spec"].get("metrics") or [])}
    target = autoscaler["spec"]["scaleTargetRef"]
    for item in _verticals(context, namespace_of(autoscaler)):
        aimed = item["spec"].get("targetRef") or {}
        mode = (item["spec"].get("updatePolicy") or {}).get("updateMode", _REPLACING[0])
        same = (aimed.get("kind"), aimed.get("name")) == (target["kind"], target["name"])
        if not same or mode not in _REPLACING or not looks_at & {*RESOURCES}:
            continue
        what = f"{reference(item)} changes the requests of the pods that it scales"
        evidence = (f"{reference(item)} .spec.updatePolicy.updateMode: {mode}",)
        if remedy is Remedy.SIDECAR_REQUESTS and not _leaves_sidecar(item):
            found = Finding(
                reference(autoscaler),
                what,
                "it may give the sidecar other requests than this step's annotations",
                f"have it leave the sidecar alone: kubectl --namespace {namespace_of(item)} edit "
                f"vpa {name_of(item)}, for spec.resourcePolicy.containerPolicies to have "
                f"{{containerName: {PROXY}, mode: 'Off'}}",
                evidence,
            )
            yield preflight.risk(context, "set-back", found)
        else:
            yield Finding(
                reference(autoscaler),
                what,
                "a percentage of requests is another amount whenever they change, with and without "
                "sidecars: where it scales out is right for the requests of now",
                "have one of the two decide by something else than CPU and memory",
                evidence,
                severity=Severity.NOTE,
            )


def _verticals(context: Context, namespace: str) -> list[Object]:
    try:
        return context.cluster.list(*_VERTICAL, namespace)
    except (KindNotInstalled, ClusterRefused):  # it is an addition that few clusters have
        return []


def _leaves_sidecar(vertical: Object) -> bool:
    """Whether a VerticalPodAutoscaler has a policy that turns it off for the sidecar."""
    policies = (vertical["spec"].get("resourcePolicy") or {}).get("containerPolicies") or []
    modes = {each.get("containerName"): each.get("mode", "Auto") for each in policies}
    turned_off: bool = modes.get(PROXY, modes.get("*")) == "Off"
    return turned_off


def _flow(value: object) -> str:
    """Return a value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).strip()
