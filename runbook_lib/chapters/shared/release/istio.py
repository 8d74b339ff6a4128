"""The two Helm releases that Istio consists of, from the parameters."""

from __future__ import annotations

from typing import Any

from runbook_lib.chapters.shared.release.planner import ReleasePlanner, Source
from runbook_lib.cluster import TAG_LABEL, Object, labels_of
from runbook_lib.lifecycle import Context
from runbook_lib.parameters import ChartParameters, Parameters

TRACING_PROVIDER = "jaeger"
"""The name under which Telemetry objects find the provider of traces in the mesh config."""


def base_release(
    parameters: Parameters, *, goes_back: bool = False, default_revision: str | None = None
) -> ReleasePlanner:
    """The release with Istio's kinds.

    Args:
        parameters: They name it.
        goes_back: Whether it may become an older version.
        default_revision: The revision whose istiod is asked about Istio's objects, if it is to be
            another than the values say.
    """
    source, values = _from_istio(parameters, parameters.istio.base)
    if default_revision is not None:
        values["defaultRevision"] = default_revision
    return ReleasePlanner(parameters.istio.base, source, values, goes_back=goes_back)


def istiod_release(parameters: Parameters, *, goes_back: bool = False) -> ReleasePlanner:
    """The release with the control plane.

    Its mesh config names where traces go, from the first installation on. That alone traces
    nothing, and a release has one set of values: one that a later chapter added would be taken
    away again by the next run of the first.

    Args:
        parameters: They name it.
        goes_back: Whether it may become an older version.
    """
    istio = parameters.istio
    source, values = _from_istio(parameters, istio.istiod)
    if istio.hub is not None:
        given = values.get("global", istio.istiod.values.get("global", {}))
        values["global"] = {**given, "hub": istio.hub}
    if istio.revision != "default":
        values["revision"] = istio.revision
    mesh_config = _mesh_config(parameters)
    return ReleasePlanner(istio.istiod, source, values, mesh_config, goes_back=goes_back)


def tag_webhook(context: Context, parameters: Parameters, tag: str) -> Object:
    """Return the webhook of a tag, by which namespaces ask for the parameters' revision.

    It is what `istioctl tag set` makes, from istiod's chart and not as a part of its release: a tag
    moves from one release to the next. See
    https://istio.io/latest/docs/setup/upgrade/canary/#stable-revision-labels.
    """
    istio = parameters.istio
    source, values = _from_istio(parameters, istio.istiod)
    if istio.revision != "default":
        values["revision"] = istio.revision
    values["revisionTags"] = [tag]
    rendered = ReleasePlanner(istio.istiod, source, values).rendered(context)
    (found,) = (
        item
        for item in rendered
        if item["kind"] == "MutatingWebhookConfiguration" and labels_of(item).get(TAG_LABEL) == tag
    )
    labels = {key: value for key, value in labels_of(found).items() if key not in _OF_HELM}
    found["metadata"]["labels"] = labels
    return found


_OF_HELM = ("app.kubernetes.io/managed-by", "helm.sh/chart", "release")
"""Labels that would say that a release holds the object."""


def tracing_provider(parameters: Parameters) -> Object | None:
    """Return the extension provider that takes traces; None if no parameter says where they go.

    One that `istio.istiod.values` defines under the same name is taken as it is. See
    https://istio.io/latest/docs/tasks/observability/distributed-tracing/jaeger/.
    """
    for given in _providers(parameters):
        if given.get("name") == TRACING_PROVIDER:
            return given
    kiali = parameters.kiali
    collector = kiali.tracing_collector
    if collector is None:
        if kiali.tracing_url is not None:
            return None
        collector = f"jaeger-collector.{parameters.istio.namespace}.svc.cluster.local:4317"
    host, _, port = collector.rpartition(":")
    return {"name": TRACING_PROVIDER, "opentelemetry": {"service": host, "port": int(port)}}


def _mesh_config(parameters: Parameters) -> dict[str, Any]:
    """Return the values that add the provider of traces to those that are given."""
    provider, given = tracing_provider(parameters), _providers(parameters)
    if provider is None or provider in given:
        return {}
    return {"meshConfig": {"extensionProviders": [*given, provider]}}


def _providers(parameters: Parameters) -> list[Object]:
    mesh_config = parameters.istio.istiod.values.get("meshConfig") or {}
    return list(mesh_config.get("extensionProviders") or [])


def _from_istio(parameters: Parameters, chart: ChartParameters) -> tuple[Source, dict[str, Any]]:
    """Return where Istio's charts come from, and the values that follow from their namespace."""
    istio = parameters.istio
    source = Source(
        istio.namespace, istio.chart_repository, istio.version, parameters.timeouts.istiod
    )
    if istio.namespace == "istio-system":
        return source, {}
    return source, {"global": {**chart.values.get("global", {}), "istioNamespace": istio.namespace}}
