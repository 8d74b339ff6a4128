"""When requests are traced, and why not: whose istiod it is, and who else decides."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from runbook_lib.chapters.kiali import tracing
from runbook_lib.chapters.shared import preflight
from runbook_lib.chapters.shared.release import istio
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Context, Plan
from tests.unit.doubles.given_cluster import context, pod
from tests.unit.samples import lab_parameters

OURS = {"name": "jaeger", "opentelemetry": {"service": "j.m.svc.cluster.local", "port": 4317}}
OWN_JAEGER = {"tracing_url": "http://jaeger.monitoring:16686/j"}


def mesh_config(*providers: Object, name: str = "istio") -> Object:
    data = {"mesh": yaml.safe_dump({"extensionProviders": [*providers]})}
    return {
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "istio-system"},
        "data": data,
    }


def telemetry(name: str, manager: str = "theirs", **spec: Any) -> Object:
    fields = [{"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {}}}]
    metadata = {"name": name, "namespace": "xnat", "managedFields": fields}
    return {"kind": "Telemetry", "metadata": metadata, "spec": spec}


def looking(folder: Path, *objects: Object, own: bool = True, **given: Any) -> Context:
    """A context on a cluster with these objects, whose istiod is the runbook's or not."""
    made = context(folder, *objects, **given)
    labels = preflight.INSTALLED_BY if own else {}
    made.__dict__["helm"] = SimpleNamespace(get_labels=lambda *_, **__: labels)
    return made


def planned(made: Context) -> Plan:
    return tracing.step(made.parameters).plan(made)


def test_spans_go_to_the_jaeger_of_the_runbook_unless_a_collector_is_named() -> None:
    def provider(**kiali: Any) -> Object | None:
        return istio.tracing_provider(lab_parameters(istio={"namespace": "mesh"}, kiali=kiali))

    there = {"service": "jaeger-collector.mesh.svc.cluster.local", "port": 4317}
    assert provider() == {"name": "jaeger", "opentelemetry": there}
    assert provider(**OWN_JAEGER, tracing_collector="j.m.svc.cluster.local:4317") == OURS
    assert provider(**OWN_JAEGER) is None


def test_a_provider_of_the_same_name_in_the_values_is_taken_as_it_is() -> None:
    other = {"name": "logs", "envoyOtelAls": {"service": "otel.logs", "port": 4317}}
    values = {"meshConfig": {"extensionProviders": [other, OURS]}}
    parameters = lab_parameters(istio={"istiod": {"values": values}})
    assert istio.tracing_provider(parameters) == OURS


def test_a_jaeger_of_ones_own_needs_a_collector(tmp_path: Path) -> None:
    plan = planned(looking(tmp_path, kiali=OWN_JAEGER))
    assert plan.empty
    assert "kiali.tracing_collector does not say where it takes spans" in plan.note


def test_an_istiod_of_others_is_left_alone_and_its_owner_told_what_to_add(tmp_path: Path) -> None:
    made = looking(tmp_path, mesh_config(), own=False)
    plan = planned(made)
    assert plan.empty
    reason, _, values = plan.note.partition("values of its chart: ")
    assert "istiod was not installed by this runbook" in reason
    (provider,) = yaml.safe_load(values.rstrip("."))["meshConfig"]["extensionProviders"]
    assert provider == istio.tracing_provider(made.parameters)
    verification = tracing.step(made.parameters).verify(made)
    assert [row.ok for table in verification.tables for row in table.rows] == [None]
    assert "no traces to prove" in verification.headline


@pytest.mark.parametrize(
    ("found", "decides"),
    [
        (telemetry("logs", accessLogging=[{}]), True),
        (telemetry("of-one", selector={"matchLabels": {"app": "other"}}), False),
        (telemetry("of-a-service", targetRefs=[{"kind": "Service"}]), False),
        (telemetry("tracing", selector={"matchLabels": {"app": "other"}}), True),
        (telemetry("tracing", manager="istio-runbook"), False),
    ],
    ids=["for all", "for some pods", "for a Service", "under our name", "our own"],
)
def test_istio_heeds_one_object_for_a_whole_namespace(
    tmp_path: Path, found: Object, *, decides: bool
) -> None:
    made = looking(tmp_path, found)
    named = tracing._telemetry_of_others(made)
    assert bool(named) is decides
    if decides:
        assert f"Telemetry xnat/{found['metadata']['name']} (made by theirs)" in planned(made).note


@pytest.mark.parametrize(
    ("providers", "own", "right"),
    [
        ([], True, False),
        ([OURS], True, False),
        ([OURS], False, True),
    ],
    ids=["none", "another collector in our own", "another collector in theirs"],
)
def test_only_the_runbooks_own_mesh_config_is_changed(
    tmp_path: Path, providers: list[Object], *, own: bool, right: bool
) -> None:
    assert tracing._is_configured(looking(tmp_path, mesh_config(*providers), own=own)) is right


def test_before_istiod_is_there_nothing_is_missing(tmp_path: Path) -> None:
    assert tracing._is_configured(looking(tmp_path))


def test_a_revision_has_a_mesh_config_of_its_own(tmp_path: Path) -> None:
    wanted = istio.tracing_provider(lab_parameters())
    assert wanted is not None
    made = looking(
        tmp_path,
        mesh_config(),
        mesh_config(wanted, name="istio-canary"),
        istio={"revision": "canary"},
    )
    assert tracing._is_configured(made)


def test_without_sidecars_no_trace_is_expected(tmp_path: Path) -> None:
    check = tracing._trace_check(looking(tmp_path, pod(sidecar=False)))
    assert check.ok is None
    assert "no web pod has a sidecar" in check.found


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://jaeger.monitoring:16686/j", ("jaeger", "monitoring", 16686, "/j")),
        ("https://jaeger.monitoring.svc.cluster.local", ("jaeger", "monitoring", 443, "")),
        ("https://jaeger.example.com", None),
        ("http://jaeger", None),
    ],
)
def test_a_jaeger_is_asked_where_it_is_a_service(
    tmp_path: Path, url: str, asked: tuple[str, ...] | None
) -> None:
    service = {"kind": "Service", "metadata": {"name": "jaeger", "namespace": "monitoring"}}
    found = tracing._query(looking(tmp_path, service, kiali={"tracing_url": url}))
    assert found == asked
