"""Traces: what has sidecars report requests to Jaeger, and the proof that one has arrived."""

from __future__ import annotations

import math
import secrets
import uuid
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import yaml

from runbook_lib.base import CommandError, KindNotInstalled, WaitTimeout, wait
from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.shared import objects, preflight
from runbook_lib.chapters.shared.release import istio as istio_releases
from runbook_lib.cluster import Object, has_sidecar, name_of, ownership, reference
from runbook_lib.lifecycle import Check, Context, Exports, Plan, Step, Verification, table
from runbook_lib.mesh import of_revision, revisions, web_pods
from runbook_lib.parameters import Parameters
from runbook_lib.site import Expectation, Probe, probe

_TELEMETRY_API = "telemetry.istio.io/v1"

_BATCH = 5
"""Spans that Envoy sends at once; a smaller number waits for up to 5 s (its runtime keys
`tracing.opentelemetry.min_flush_spans` and `.flush_interval_ms`)."""


class _Query(NamedTuple):
    """Jaeger's query service, inside the cluster.

    Attributes:
        service: Its name.
        namespace: Its namespace.
        port: Its port.
        path: What its API's paths begin with.
    """

    service: str
    namespace: str
    port: int
    path: str


class _TraceRequests(Step):
    """Have the sidecars of the application's namespace report requests to Jaeger."""

    name = "kiali-tracing"
    title = "Have sidecars report traces to Jaeger"
    why = "Istio's sidecars trace nothing by themselves: without this Jaeger stays empty"
    takes = "seconds"
    risk = "a span holds the whole URL of a request, its query included, and whoever reads Jaeger "
    risk += "sees it; a high sampling costs sidecars CPU"
    undo = "delete the Telemetry: then the sidecars report nothing"

    def __init__(self, parameters: Parameters) -> None:
        self._istiod = istio_releases.istiod_release(parameters)

    def plan(self, context: Context) -> Plan:
        if why := _why_left_out(context):
            return Plan(self.name, context.target.uid, note=f"Left out: {why}.")
        istiod = () if _is_configured(context) else self._istiod.changes(context)
        wanted = [manifest.telemetry(context.parameters)]
        planned = objects.plan_objects(context, self.name, wanted, own=True)
        return replace(planned, changes=(*istiod, *planned.changes))

    def apply(self, context: Context, plan: Plan) -> None:
        self._istiod.apply(context, plan)
        objects.apply_objects(context, plan, [manifest.telemetry(context.parameters)])

    def verify(self, context: Context) -> Verification:
        if why := _why_left_out(context):
            seen = table.of_checks("Traces", [Check("left out", why, ok=None)])
            return Verification(self.name, (seen,), note="There are no traces to prove.")
        checks = [_telemetry_check(context), _provider_check(context)]
        if table.all_ok(checks):
            checks.append(_trace_check(context))
        return Verification(self.name, (table.of_checks("Traces", checks),))

    def exports(self, context: Context) -> Exports:
        if _why_left_out(context):
            return Exports()
        return Exports(objects=(manifest.telemetry(context.parameters),))


def step(parameters: Parameters) -> Step:
    """The step that has requests traced."""
    return _TraceRequests(parameters)


def _why_left_out(context: Context) -> str:
    """Say why this runbook cannot have requests traced; empty if it can."""
    parameters = context.parameters
    wanted = istio_releases.tracing_provider(parameters)
    if wanted is None:
        return (
            "kiali.tracing_url names a Jaeger that is there already, and kiali.tracing_collector "
            "does not say where it takes spans"
        )
    others = _telemetry_of_others(context)
    if others:
        return (
            f"{', '.join(others)} decides about the whole namespace, and Istio heeds one such "
            "object a namespace. Have its owner add tracing to it"
        )
    istio = parameters.istio
    mesh_config = _mesh_config(context)
    if mesh_config is None or _provider_in(mesh_config) is not None:
        return ""
    if preflight.is_own(context, istio.istiod.release, istio.namespace):
        return ""
    values = {"meshConfig": {"extensionProviders": [wanted]}}
    line = yaml.safe_dump(values, default_flow_style=True, sort_keys=False, width=math.inf)
    return (
        "istiod was not installed by this runbook, and its mesh config has no extension provider "
        f"{wanted['name']}. Have its owner add one to the values of its chart: {line.strip()}"
    )


def _telemetry_of_others(context: Context) -> list[str]:
    """Name objects of others that decide about tracing where the runbook's own would."""
    own = manifest.telemetry(context.parameters)
    try:
        found = context.cluster.list(
            _TELEMETRY_API, "Telemetry", context.parameters.application.namespace
        )
    except KindNotInstalled:
        return []
    return [
        f"{reference(item)} (made by {ownership.makers(item)})"
        for item in found
        if not ownership.is_own(item)
        and (name_of(item) == name_of(own) or not _is_narrow(item.get("spec") or {}))
        and not (name_of(item) == name_of(own) and item.get("spec") == own["spec"])
    ]


def _is_narrow(spec: Object) -> bool:
    """Whether a Telemetry is about some workloads of its namespace, and not about all."""
    return any(spec.get(key) for key in ("selector", "targetRef", "targetRefs"))


def _mesh_config(context: Context) -> Object | None:
    """Return the mesh config that istiod reads; None where there is no istiod yet."""
    istio = context.parameters.istio
    parameters = revisions.of_cluster(context.cluster, context.parameters)
    name = of_revision(parameters, "istio")
    found = context.cluster.get("v1", "ConfigMap", name, istio.namespace)
    if found is None:
        return None
    config: Object = yaml.safe_load((found.get("data") or {}).get("mesh", "")) or {}
    return config


def _provider_in(mesh_config: Object) -> Object | None:
    providers: list[Object] = mesh_config.get("extensionProviders") or []
    named = (each for each in providers if each.get("name") == istio_releases.TRACING_PROVIDER)
    return next(named, None)


def _is_configured(context: Context) -> bool:
    """Whether the mesh config needs no change; without istiod, chapter 01 makes it right."""
    mesh_config = _mesh_config(context)
    if mesh_config is None:
        return True
    found = _provider_in(mesh_config)
    istio, wanted = context.parameters.istio, istio_releases.tracing_provider(context.parameters)
    own = preflight.is_own(context, istio.istiod.release, istio.namespace)
    return found is not None and (found == wanted or not own)


def _telemetry_check(context: Context) -> Check:
    return objects.check(context, manifest.telemetry(context.parameters))


def _provider_check(context: Context) -> Check:
    found = _provider_in(_mesh_config(context) or {})
    where = (found or {}).get("opentelemetry") or {}
    shown = f"{where.get('service')}:{where.get('port')}" if where else "not of OpenTelemetry"
    subject = f"extension provider {istio_releases.TRACING_PROVIDER}"
    return Check(subject, shown if found else "missing", ok=found is not None)


def _trace_check(context: Context) -> Check:
    """Ask the site for pages as a caller who wants them traced, until Jaeger has that trace."""
    parameters = context.parameters
    subject = "a request from outside"
    if not any(map(has_sidecar, web_pods(context.cluster, parameters))):
        return Check(subject, "not traced: no web pod has a sidecar yet", ok=None)
    query = _query(context)
    if query is None:
        url = parameters.kiali.tracing_url
        return Check(subject, f"traced; look for it there, outside of the cluster: {url}", ok=None)
    trace = secrets.token_hex(16)
    found = ""
    try:
        with context.forwarded(f"service/{query.service}", query.namespace, query.port) as (url,):

            def observe() -> wait.State:
                nonlocal found
                _request(context, trace)
                services, found = _received(f"{url}{query.path}/api/traces/{trace}")
                return wait.State(services, found)

            wait.until(
                "Jaeger to have the trace of a request",
                observe,
                timeout=parameters.timeouts.policy,
                interval=0.5,
                on_change=context.waiting,
            )
    except CommandError as error:
        return Check(subject, f"no way to Jaeger: {error.stderr or error.cause}", ok=False)
    except WaitTimeout:
        return Check(subject, found, ok=False)
    return Check(subject, found, ok=True)


def _request(context: Context, trace: str) -> None:
    """Send a batch of requests with this trace's id; whatever answers, the sidecar reports it.

    Envoy traces whoever sends an id of their own, whatever the sampling (x-client-trace-id in
    https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/observability/tracing).
    """
    parameters = context.parameters
    given = parameters.application.probes[0]
    asked = Probe(given.method, given.path, Expectation(given.status))
    for _ in range(_BATCH):
        probe.send(
            context.target.url,
            asked,
            timeout=parameters.timeouts.probe,
            verify=context.verify_tls,
            headers={
                "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01",
                "x-client-trace-id": str(uuid.uuid4()),
            },
        )


def _received(url: str) -> tuple[bool, str]:
    """Ask Jaeger for a trace; return whether it has it, and from which services."""
    try:
        answer = httpx.get(url, timeout=5, trust_env=False)
        traces = answer.json().get("data") or []
        services = {each["serviceName"] for t in traces for each in t["processes"].values()}
    except httpx.HTTPError as error:
        return False, f"Jaeger does not answer: {error or type(error).__name__}"
    except (ValueError, KeyError, AttributeError, TypeError):
        return False, f"Jaeger answers {answer.status_code}, and not with a trace"
    if not services:
        return False, "Jaeger has received no span of it"
    return True, f"traced: Jaeger has spans of {', '.join(sorted(services))}"


def _query(context: Context) -> _Query | None:
    """Return where traces are asked for; None if that is not a Service of this cluster."""
    parameters = context.parameters
    if parameters.kiali.tracing_url is None:
        return _Query("tracing", parameters.istio.namespace, 80, "/jaeger")
    parts = urlsplit(parameters.kiali.tracing_url)
    service, _, rest = (parts.hostname or "").partition(".")
    namespace = rest.partition(".")[0]
    if not namespace or context.cluster.get("v1", "Service", service, namespace) is None:
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _Query(service, namespace, port, parts.path.rstrip("/"))
