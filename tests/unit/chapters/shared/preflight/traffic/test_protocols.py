"""A port that is declared as HTTP and speaks something else refuses the restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.chapters.shared.preflight.traffic.protocols import not_spoken
from runbook_lib.cluster.objects import Object
from tests.unit.chapters.shared.preflight.traffic.site import DATABASE, service, site


@pytest.mark.parametrize(
    ("port", "field", "speaks"),
    [
        ({"port": 5432, "name": "http-db"}, "name: http-db", "PostgreSQL"),
        ({"port": 80, "targetPort": 5432, "name": "http"}, "name: http", "PostgreSQL"),
        ({"port": 6379, "appProtocol": "grpc"}, "appProtocol: grpc", "Redis"),
        ({"port": 11112, "name": "http-scans"}, "name: http-scans", "DICOM"),
        ({"port": 8104, "name": "http-scans"}, "name: http-scans", "DICOM"),
    ],
)
def test_http_is_not_declared_where_something_else_is_spoken(
    tmp_path: Path, port: Object, field: str, speaks: str
) -> None:
    given = {"plaintext_ports": [8104], "dicom": {"port": 8104}}
    found = site(tmp_path, service("odd", port, selector=DATABASE), **given)
    (finding,) = not_spoken(found)
    assert finding.refuses
    assert finding.evidence == (f"Service xnat/odd .spec.ports[0].{field}",)
    assert speaks in finding.what
    assert "kubectl --namespace xnat edit service odd" in finding.remedy


@pytest.mark.parametrize(
    "port",
    [
        {"port": 5432, "name": "tcp-postgresql"},
        {"port": 5432},
        {"port": 5432, "name": "http", "appProtocol": "tcp"},
        {"port": 80, "name": "http", "targetPort": 8080},
    ],
)
def test_what_is_declared_as_it_is_spoken_says_nothing(tmp_path: Path, port: Object) -> None:
    assert list(not_spoken(site(tmp_path, service("plain", port)))) == []
