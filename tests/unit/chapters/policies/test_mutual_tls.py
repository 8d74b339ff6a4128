"""What the plan of mutual TLS leaves for a person to judge."""

from __future__ import annotations

from pathlib import Path

from runbook_lib.chapters.policies import manifest
from runbook_lib.chapters.shared import outsiders
from tests.unit.doubles.given_cluster import WEB, context, pod
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
