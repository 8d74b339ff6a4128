"""What the plan of mutual TLS leaves for a person to judge."""

from __future__ import annotations

from pathlib import Path

from runbook_lib.chapters.policies import manifest, mutual_tls
from runbook_lib.chapters.shared import outsiders
from tests.unit.doubles.given_cluster import WEB, context, pod, web_workload
from tests.unit.samples import lab_parameters

EXCLUDED = {"traffic.sidecar.istio.io/excludeInboundPorts": "8080,9187"}
METRICS = {"name": "metrics", "ports": [{"containerPort": 9187}]}

PLANNED = manifest.mutual_tls(lab_parameters(), WEB)


def test_ports_that_stay_open_past_the_sidecars_are_named(tmp_path: Path) -> None:
    database = pod("db-0", METRICS, labels={"app": "db"}, annotations=EXCLUDED)
    (said,) = outsiders.open_past_sidecars(context(tmp_path, database), PLANNED)
    assert said.startswith("9187 (Pod xnat/db-0 .metadata.annotations.")
    assert said.endswith("excludeInboundPorts: 8080,9187)")
    # The web port is open anyway, and a pod without a sidecar promises nothing.
    web = pod(annotations=EXCLUDED)
    bare = pod("db-0", METRICS, labels={"app": "db"}, sidecar=False, annotations=EXCLUDED)
    assert outsiders.open_past_sidecars(context(tmp_path, web, bare), PLANNED) == []


def test_metrics_ports_that_strict_closes_are_an_obstacle_before_any_step(tmp_path: Path) -> None:
    exporter = web_workload({"app": "exporter"})
    exporter["metadata"]["name"] = "exporter"
    port = {"containerPort": 9187, "name": "metrics"}
    exporter["spec"]["template"]["spec"]["containers"] = [{"name": "exporter", "ports": [port]}]
    given = context(tmp_path, web_workload(), exporter, story="safe")
    exception, strict, _asked = mutual_tls.steps(given.parameters)
    assert list(exception.obstacles(given)) == []
    (finding,) = strict.obstacles(given)
    assert (finding.name, finding.where) == ("metrics-ports", "StatefulSet xnat/exporter")


def test_without_a_web_workload_only_that_is_said(tmp_path: Path) -> None:
    given = context(tmp_path)
    exception, *_ = mutual_tls.steps(given.parameters)
    (finding,) = exception.obstacles(given)
    assert finding.what == "there is none"
