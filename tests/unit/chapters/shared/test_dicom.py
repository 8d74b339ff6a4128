"""The door for devices: where it is, and whether the policies leave it open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import VerificationFailed
from runbook_lib.chapters.shared import dicom
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Context, Row
from runbook_lib.site.dicom import Echo
from tests.unit.doubles.given_cluster import WEB, context, pod

PORT = {"port": 104, "targetPort": 8104, "nodePort": 30104}


def service(kind: str, **status: Any) -> Object:
    spec = {"type": kind, "selector": WEB, "ports": [PORT]}
    metadata = {"name": "scp", "namespace": "xnat"}
    return {"kind": "Service", "metadata": metadata, "spec": spec, "status": status}


def node(kind: str) -> Object:
    addresses = [{"type": kind, "address": "192.0.2.7"}]
    metadata = {"name": "node", "namespace": None}
    return {"kind": "Node", "metadata": metadata, "status": {"addresses": addresses}}


def looking(folder: Path, *objects: Object, **given: Any) -> Context:
    application = {"plaintext_ports": [8104], "dicom": {"port": 8104, **given}}
    limits = {"policy": 1}
    web = pod("web", {"name": "web"})
    return context(folder, web, *objects, application=application, timeouts=limits)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], str]:
    """Where devices are answered, and as whom; everywhere else they are not."""
    answering: dict[tuple[str, int], str] = {}

    def echo(address: str, port: int, *, title: str, timeout: float) -> Echo:
        assert timeout > 0
        answered = answering.get((address, port)) == title
        return Echo(answered, "answers C-ECHO" if answered else "takes no association")

    monkeypatch.setattr(dicom.dicom, "echo", echo)
    return answering


@pytest.mark.parametrize(
    ("objects", "at", "name"),
    [
        (
            [service("LoadBalancer", loadBalancer={"ingress": [{"hostname": "lb.example"}]})],
            ("lb.example", 104),
            "Service xnat/scp (LoadBalancer)",
        ),
        (
            [service("NodePort"), node("ExternalIP")],
            ("192.0.2.7", 30104),
            "Service xnat/scp (NodePort)",
        ),
    ],
)
def test_services_from_outside_are_doors(
    tmp_path: Path,
    asked: dict[tuple[str, int], str],
    objects: list[Object],
    at: tuple[str, int],
    name: str,
) -> None:
    asked[at] = "XNAT"
    (table,) = dicom.prove(looking(tmp_path, *objects))
    assert table.rows == (Row((name, "answers C-ECHO", "answered"), ok=True),)


@pytest.mark.parametrize(
    ("address", "host"),
    [("dicom.example.com:11112", "dicom.example.com"), ("[2001:db8::1]:11112", "2001:db8::1")],
)
def test_a_given_address_is_the_door(
    tmp_path: Path, asked: dict[tuple[str, int], str], address: str, host: str
) -> None:
    asked[host, 11112] = "PACS"
    given = {"address": address, "ae_title": "PACS"}
    (table,) = dicom.prove(looking(tmp_path, service("NodePort"), **given))
    assert [row.ok for row in table.rows] == [True]


@pytest.mark.parametrize(
    "objects", [[service("ClusterIP")], [], [service("NodePort"), node("InternalIP")]]
)
def test_a_door_without_an_address_is_not_counted_as_fine(
    tmp_path: Path, objects: list[Object]
) -> None:
    (table,) = dicom.prove(looking(tmp_path, *objects))
    ((cells, ok),) = [(row.cells, row.ok) for row in table.rows]
    assert ok is None
    assert "application.dicom.address" in cells[1]


@pytest.mark.usefixtures("asked")
def test_a_door_that_should_be_open_and_is_not_fails(tmp_path: Path) -> None:
    given = {"address": "dicom.example.com:104"}
    with pytest.raises(VerificationFailed, match="takes no association  answered  NO"):
        dicom.prove(looking(tmp_path, **given))


def strict() -> Object:
    metadata = {"name": "default", "namespace": "istio-system"}
    return {
        "kind": "PeerAuthentication",
        "metadata": metadata,
        "spec": {"mtls": {"mode": "STRICT"}},
    }


def allowing(*ports: str) -> Object:
    to = [{"operation": {"methods": ["GET"]}}, *({"operation": {"ports": [p]}} for p in ports)]
    metadata = {"name": "xnat-all", "namespace": "xnat"}
    spec = {
        "selector": {"matchLabels": WEB},
        "action": "ALLOW",
        "rules": [{"to": [each]} for each in to],
    }
    return {"kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("policies", "open_"),
    [([], True), ([strict()], False), ([allowing()], False), ([allowing("8104")], True)],
    ids=["no policy", "STRICT", "methods alone", "the port as well"],
)
def test_the_policies_in_force_say_whether_devices_are_answered(
    tmp_path: Path, asked: dict[tuple[str, int], str], policies: list[Object], *, open_: bool
) -> None:
    if open_:
        asked["dicom.example.com", 104] = "XNAT"
    (table,) = dicom.prove(looking(tmp_path, *policies, address="dicom.example.com:104"))
    ((cells, ok),) = [(row.cells, row.ok) for row in table.rows]
    assert ok
    assert cells[2] == ("answered" if open_ else "not answered")


def test_without_dicom_nothing_is_asked(tmp_path: Path) -> None:
    assert dicom.prove(context(tmp_path)) == ()
