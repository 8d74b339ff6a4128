"""The two Helm releases that Istio consists of, from the parameters."""

from __future__ import annotations

from typing import Any

from runbook_lib.chapters.shared.release.planner import ReleasePlanner, Source
from runbook_lib.parameters import ChartParameters, Parameters


def base_release(parameters: Parameters) -> ReleasePlanner:
    """The release with Istio's kinds."""
    return ReleasePlanner(parameters.istio.base, *_from_istio(parameters, parameters.istio.base))


def istiod_release(parameters: Parameters) -> ReleasePlanner:
    """The release with the control plane."""
    istio = parameters.istio
    source, values = _from_istio(parameters, istio.istiod)
    if istio.revision != "default":
        values["revision"] = istio.revision
    return ReleasePlanner(istio.istiod, source, values)


def _from_istio(parameters: Parameters, chart: ChartParameters) -> tuple[Source, dict[str, Any]]:
    """Return where Istio's charts come from, and the values that follow from their namespace."""
    istio = parameters.istio
    source = Source(
        istio.namespace, istio.chart_repository, istio.version, parameters.timeouts.istiod
    )
    if istio.namespace == "istio-system":
        return source, {}
    return source, {"global": {**chart.values.get("global", {}), "istioNamespace": istio.namespace}}
