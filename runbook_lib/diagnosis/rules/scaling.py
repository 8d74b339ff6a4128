"""Rules about autoscalers that sidecars make late or blind, or that do not scale at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from runbook_lib.chapters.autoscaling import Autoscaler, Scaling, Shift, words
from runbook_lib.cluster import Object, pods
from runbook_lib.diagnosis import Cause, Observation, pods_of, registry
from runbook_lib.lifecycle import Severity

SETTLING = timedelta(minutes=2)
"""How long pods have to be ready until metrics of theirs must be there.

The controller ignores new pods until they have been ready for a whole window of their metrics, and
in a metrics API as it is usually set up that, with the next scrape, is less than a minute.
"""

_DOCS = (
    "https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/"
    "#container-resource-metrics"
)

_rule = partial(registry.rule, registry.Area.AUTOSCALING, "03_autoscaling")


@_rule(order=390, needs=("autoscalers", "mended"))
def autoscaler_skewed(seen: Observation) -> Iterator[Cause]:
    """Sidecars have moved the point at which an autoscaler scales out, and that matters now.

    Until chapter 03 is run every percentage of a pod with a sidecar is moved: that is a symptom
    only where the load is between the two points. Later it means that the remedy is gone.
    """
    for autoscaler in seen.autoscalers:
        for scaling in autoscaler.scalings:
            undone = autoscaler.name in seen.mended
            if scaling.state is not Shift.MOVED or scaling.now is None:
                continue
            if not undone and not _between(scaling):
                continue
            resource = scaling.resource
            yield Cause(
                _name(seen, autoscaler),
                "a percentage of the whole pod counts the sidecar's requests, which it hardly uses"
                + ("; the remedy that was in place has been taken back" if undone else ""),
                f"{autoscaler.target} scales out above {words(resource, scaling.now)} {resource} "
                f"a pod, and without sidecars did above {words(resource, scaling.before)}: too "
                "late, or never",
                "run notebook 03_autoscaling: it shows three remedies and applies one",
                (
                    f"{_name(seen, autoscaler)} .spec.metrics: "
                    + ", ".join(metric.text for metric in scaling.metrics),
                ),
                link=_DOCS,
                severity=Severity.FAULT if undone else Severity.NOT_DONE,
            )


def _between(scaling: Scaling) -> bool:
    """Whether the load is above the point without sidecars, and not above the one with them."""
    if scaling.usage is None or scaling.before is None or scaling.now is None:
        return False
    used = scaling.usage.application + scaling.usage.added
    return scaling.usage.application > scaling.before and used <= scaling.now


@_rule(order=370, needs=("autoscalers",))
def autoscaler_blind(seen: Observation) -> Iterator[Cause]:
    """An autoscaler has nothing to go by, and without sidecars and remedies would have."""
    for autoscaler in seen.autoscalers:
        for scaling in filter(_is_blind, autoscaler.scalings):
            why = scaling.reason or "no point can be computed"
            annotations = (
                "; set all four sidecar.istio.io/proxy* annotations or none, then restart the pods"
                if None in scaling.requests.added.values()
                else ""
            )
            yield Cause(
                _name(seen, autoscaler),
                why,
                f"{autoscaler.target} is never scaled: its autoscaler shows <unknown>",
                f"run notebook 03_autoscaling{annotations}",
                (
                    f"{_name(seen, autoscaler)} .spec.metrics: "
                    + ", ".join(metric.text for metric in scaling.metrics),
                    *autoscaler.problems,
                ),
                link=_DOCS,
            )


@_rule(order=380, needs=("autoscalers", "pods", "workloads"))
def autoscaler_inactive(seen: Observation) -> Iterator[Cause]:
    """An autoscaler does not scale, and sidecars have no part in it."""
    namespace = seen.parameters.application.namespace
    for autoscaler in seen.autoscalers:
        if any(map(_is_blind, autoscaler.scalings)):
            continue
        troubles = [*_uncomputed(autoscaler), *_lasting_problems(seen, autoscaler)]
        if troubles:
            yield Cause(
                _name(seen, autoscaler),
                f"something stands in the way of the autoscaler: {troubles[0]}",
                f"its autoscaler {autoscaler.name} does not scale {autoscaler.target} as it should",
                f"mend what it says: kubectl --namespace {namespace} describe hpa "
                f"{autoscaler.name}; metrics come from: kubectl get apiservice "
                "v1beta1.metrics.k8s.io",
                tuple(f"{_name(seen, autoscaler)}: {trouble}" for trouble in troubles),
                link=_DOCS,
            )


def _is_blind(scaling: Scaling) -> bool:
    return scaling.state is Shift.MOVED and scaling.now is None


def _uncomputed(autoscaler: Autoscaler) -> list[str]:
    """Return why no point can be computed, now and without sidecars."""
    return [
        scaling.reason
        for scaling in autoscaler.scalings
        if scaling.state is Shift.UNKNOWN and scaling.now is None and scaling.reason
    ]


def _lasting_problems(seen: Observation, autoscaler: Autoscaler) -> list[str]:
    """Return what stands in an autoscaler's way, but for what passes by itself or is meant so."""
    settled = _have_settled(seen, autoscaler)
    lasting = [
        str(each)
        for each in autoscaler.conditions
        if not (each.undecided or each.disabled or (each.lacks_metrics and not settled))
    ]
    return [*autoscaler.broken, *lasting]


def _have_settled(seen: Observation, autoscaler: Autoscaler) -> bool:
    """Whether an autoscaler's pods have been ready for so long that they must have metrics."""
    kind, _, name = autoscaler.target.partition("/")
    workload = seen.workload(kind, name)
    found = pods_of(seen, workload) if workload else seen.pods
    return bool(found) and all(map(_has_settled, found))


def _has_settled(pod: Object) -> bool:
    if not pods.is_ready(pod):
        return False
    ready = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    since = datetime.fromisoformat(ready["lastTransitionTime"])
    return datetime.now(UTC) - since > SETTLING


def _name(seen: Observation, autoscaler: Autoscaler) -> str:
    return f"HorizontalPodAutoscaler {seen.parameters.application.namespace}/{autoscaler.name}"
