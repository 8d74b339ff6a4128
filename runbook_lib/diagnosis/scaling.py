"""Rules about autoscalers that sidecars make late or blind."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.diagnosis.model import Finding, Kind
from runbook_lib.diagnosis.observation import Observation
from runbook_lib.scale_out import Scaling, State, words

_DOCS = (
    "https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/"
    "#container-resource-metrics"
)


def autoscaler_skewed(seen: Observation) -> Iterator[Finding]:
    """Sidecars have moved the point at which an autoscaler scales out, and that matters now.

    Until chapter 03 is run every percentage of a pod with a sidecar is moved: that is a symptom
    only where the load is between the two points. Later it means that the remedy is gone.
    """
    namespace = seen.parameters.application.namespace
    for autoscaler in seen.autoscalers:
        for scaling in autoscaler.scalings:
            undone = autoscaler.name in seen.mended
            if scaling.state is not State.MOVED or scaling.now is None:
                continue
            if not undone and not _between(scaling):
                continue
            resource = scaling.resource
            yield Finding(
                "autoscaler-skewed",
                f"{autoscaler.target} scales out above {words(resource, scaling.now)} {resource} "
                f"a pod, and without sidecars did above {words(resource, scaling.before)}: too "
                "late, or never",
                (
                    f"HorizontalPodAutoscaler {namespace}/{autoscaler.name} .spec.metrics: "
                    + ", ".join(metric.text for metric in scaling.metrics),
                ),
                "a percentage of the whole pod counts the sidecar's requests, which it hardly uses"
                + ("; the remedy that was in place has been taken back" if undone else ""),
                "run notebook 03_autoscaling: it shows three remedies and applies one",
                _DOCS,
                kind=Kind.FAULT if undone else Kind.NOT_DONE,
            )


def _between(scaling: Scaling) -> bool:
    """Whether the load is above the point without sidecars, and not above the one with them."""
    if scaling.usage is None or scaling.before is None or scaling.now is None:
        return False
    used = scaling.usage.application + scaling.usage.added
    return scaling.usage.application > scaling.before and used <= scaling.now


def autoscaler_blind(seen: Observation) -> Iterator[Finding]:
    """An autoscaler has nothing to take a percentage of, because of a sidecar."""
    if not seen.in_mesh:
        return
    namespace = seen.parameters.application.namespace
    for autoscaler in seen.autoscalers:
        for scaling in autoscaler.scalings:
            if scaling.state is State.MOVED and scaling.now is None:
                why = scaling.reason or "no point can be computed"
                yield Finding(
                    "autoscaler-blind",
                    f"{autoscaler.target} is never scaled: its autoscaler shows <unknown>",
                    (
                        f"HorizontalPodAutoscaler {namespace}/{autoscaler.name}: {why}",
                        *autoscaler.problems,
                    ),
                    f"a container of its pods has no {scaling.resource} request",
                    "run notebook 03_autoscaling; set all four sidecar.istio.io/proxy* "
                    "annotations or none, then restart the pods",
                    _DOCS,
                )
