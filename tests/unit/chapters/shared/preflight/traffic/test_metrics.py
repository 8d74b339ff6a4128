"""Metrics ports that STRICT would close are a risk that a person has to accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.chapters.policies import manifest
from runbook_lib.chapters.shared.preflight.traffic.metrics import metrics_ports
from runbook_lib.chapters.shared.preflight.traffic.strict import Closing
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Context, Finding, Severity
from tests.unit.chapters.shared.preflight.traffic.site import (
    DATABASE,
    database,
    service,
    site,
    web,
)
from tests.unit.doubles.given_cluster import WEB, pod
from tests.unit.samples import lab_parameters


def found_by(context: Context, planned: list[Object]) -> list[Finding]:
    return list(metrics_ports(context, Closing.by(context, planned)))


STRICT = [manifest.strict_mutual_tls(lab_parameters())]
EXCEPTION = [manifest.mutual_tls_exception(lab_parameters(), WEB)]
EXPORTER = {"containerPort": 9187, "name": "exporter"}
DATABASE_MADE_OF = "StatefulSet xnat/xnat-postgresql .spec.template"
DATABASE_PORTS = f"{DATABASE_MADE_OF}.spec.containers[0].ports"


def monitor(kind: str, namespace: str, **spec: Any) -> Object:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": kind,
        "metadata": {"name": "m", "namespace": namespace},
        "spec": {"selector": {"matchLabels": DATABASE}, **spec},
    }


def exporting(**metadata: Any) -> Object:
    port = {"port": 9187, "name": "exporter", "targetPort": 9187}
    return service("db-exporter", port, selector=DATABASE, labels=DATABASE, **metadata)


@pytest.mark.parametrize(
    ("objects", "field"),
    [
        (
            [database({"containerPort": 9187, "name": "http-metrics"})],
            f"{DATABASE_PORTS}[1].name: http-metrics",
        ),
        (
            [database(EXPORTER), exporting(annotations={"prometheus.io/scrape": "true"})],
            "Service xnat/db-exporter .metadata.annotations.prometheus.io/scrape: true",
        ),
        (
            [
                database(EXPORTER),
                exporting(
                    annotations={"prometheus.io/scrape": "true", "prometheus.io/port": "9187"}
                ),
            ],
            "Service xnat/db-exporter .metadata.annotations.prometheus.io/port: 9187",
        ),
        (
            [
                database(EXPORTER),
                exporting(),
                monitor("ServiceMonitor", "xnat", endpoints=[{"port": "exporter"}]),
            ],
            "ServiceMonitor xnat/m .spec.endpoints[0].port: exporter",
        ),
        (
            [
                database(EXPORTER),
                monitor(
                    "PodMonitor",
                    "monitoring",
                    namespaceSelector={"matchNames": ["xnat"]},
                    podMetricsEndpoints=[{"portNumber": 9187}],
                ),
            ],
            "PodMonitor monitoring/m .spec.podMetricsEndpoints[0].portNumber: 9187",
        ),
        (
            [
                database(
                    EXPORTER,
                    **{
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": "9187",
                        "prometheus.istio.io/merge-metrics": "false",
                    },
                )
            ],
            f"{DATABASE_MADE_OF}.metadata.annotations.prometheus.io/scrape: true",
        ),
    ],
)
def test_a_metrics_port_of_the_database_is_named_with_its_sign(
    tmp_path: Path, objects: list[Object], field: str
) -> None:
    (finding,) = found_by(site(tmp_path, *objects), STRICT)
    assert (finding.name, finding.refuses) == ("metrics-ports", True)
    assert finding.where == "StatefulSet xnat/xnat-postgresql"
    assert "port 9187" in finding.what
    assert finding.evidence == (field,)
    assert finding.parameter == "application.accept: [metrics-ports]"
    assert "portLevelMtls" in finding.remedy
    # The exception is about the web pods alone.
    assert list(found_by(site(tmp_path, *objects), EXCEPTION)) == []


NAMED = database({"containerPort": 9187, "name": "metrics"})
MERGED = {"prometheus.io/scrape": "true", "prometheus.io/port": "9187"}


@pytest.mark.parametrize(
    "objects",
    [
        [database({"containerPort": 9187, "name": "metrics"}, **MERGED)],
        [
            database(EXPORTER),
            monitor("PodMonitor", "monitoring", podMetricsEndpoints=[{"port": "exporter"}]),
        ],
        [
            database(
                {"containerPort": 9187, "name": "metrics"}, **{"sidecar.istio.io/inject": "false"}
            )
        ],
        [
            NAMED,
            {
                "kind": "PeerAuthentication",
                "metadata": {"name": "database", "namespace": "xnat"},
                "spec": {
                    "selector": {"matchLabels": DATABASE},
                    "portLevelMtls": {"9187": {"mode": "PERMISSIVE"}},
                },
            },
        ],
        # Closed by now, and no step's doing.
        [NAMED, pod("xnat-postgresql-0", labels=DATABASE), *STRICT],
    ],
)
def test_what_stays_as_it_is_says_nothing(tmp_path: Path, objects: list[Object]) -> None:
    assert list(found_by(site(tmp_path, *objects), STRICT)) == []


def test_the_web_pods_metrics_port_is_closed_unless_it_is_a_plaintext_port(tmp_path: Path) -> None:
    metrics = web({"containerPort": 9090, "name": "prometheus"})
    for planned in (STRICT, EXCEPTION):
        (finding,) = found_by(site(tmp_path, metrics), planned)
        assert "name it in application.plaintext_ports" in finding.remedy
        assert list(found_by(site(tmp_path, metrics, plaintext_ports=[9090]), planned)) == []


def test_a_risk_that_is_accepted_is_a_note(tmp_path: Path) -> None:
    (finding,) = found_by(site(tmp_path, NAMED, accept=["metrics-ports"]), STRICT)
    assert finding.severity is Severity.NOTE


def test_where_the_mesh_does_not_merge_metrics_annotated_ports_are_closed(tmp_path: Path) -> None:
    mesh: Object = {
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": "enablePrometheusMerge: false"},
    }
    annotated = database(EXPORTER, **MERGED)
    assert list(found_by(site(tmp_path, annotated), STRICT)) == []
    (finding,) = found_by(site(tmp_path, annotated, mesh), STRICT)
    assert finding.evidence == (
        f"{DATABASE_MADE_OF}.metadata.annotations.prometheus.io/scrape: true",
    )
