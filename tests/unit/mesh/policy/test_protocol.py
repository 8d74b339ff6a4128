"""As what a sidecar reads a port."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.cluster import Object
from runbook_lib.mesh.policy import PortProtocol, Protocol, declared, on_port

HTTP, TCP, DETECTED = Protocol.HTTP, Protocol.TCP, Protocol.DETECTED
POD = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "ports": [{"name": "main", "containerPort": 8080}]}]},
}


def service(name: str, day: int, *ports: dict[str, Any]) -> Object:
    created = f"2026-01-{day:02}T00:00:00Z"
    metadata = {"name": name, "namespace": "xnat", "creationTimestamp": created}
    spec = {"selector": {"app": "web"}, "ports": list(ports)}
    return {"kind": "Service", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("port", "protocol", "field"),
    [
        ({"name": "http"}, HTTP, "name"),
        ({"name": "http-web"}, HTTP, "name"),
        ({"name": "HTTP2-web"}, HTTP, "name"),
        ({"name": "grpc-web"}, HTTP, "name"),
        ({"name": "tcp-web"}, TCP, "name"),
        ({"name": "https"}, TCP, "name"),
        ({"name": "mysql-db"}, TCP, "name"),
        ({"name": "web"}, DETECTED, ""),
        ({}, DETECTED, ""),
        ({"name": "tcp-web", "appProtocol": "http"}, HTTP, "appProtocol"),
        ({"name": "http", "appProtocol": "tcp"}, TCP, "appProtocol"),
        ({"appProtocol": "kubernetes.io/h2c"}, HTTP, "appProtocol"),
        ({"appProtocol": "kubernetes.io/ws"}, HTTP, "appProtocol"),
        ({"appProtocol": "kubernetes.io/wss"}, TCP, "appProtocol"),
        # What is declared and not known is found out, whatever the name says.
        ({"name": "http", "appProtocol": "example.com/own"}, DETECTED, ""),
        ({"port": 3306, "name": "db"}, TCP, "port"),
        ({"name": "http", "protocol": "UDP"}, TCP, "protocol"),
    ],
)
def test_what_a_service_declares(port: dict[str, Any], protocol: Protocol, field: str) -> None:
    assert declared({"port": 80, **port}) == (protocol, field)


def port(name: str, target: int | str = 8080) -> dict[str, Any]:
    return {"port": 80, "name": name, "targetPort": target}


def test_the_oldest_service_decides_and_the_one_that_does_not_is_named() -> None:
    own, older = service("own", 2, port("http")), service("older", 1, port("tcp-web", "main"))
    found = on_port([own, older], POD, 8080)
    assert found.protocol is TCP
    assert found.reason is not None
    assert found.reason.text == "Service xnat/older .spec.ports[0].name: tcp-web"
    assert found.reason.why == "the oldest Service of the port decides, and not Service xnat/own"
    assert on_port([own], POD, 8080).protocol is HTTP


def test_of_one_services_ports_the_first_decides() -> None:
    assert on_port([service("s", 1, port("http"), port("tcp"))], POD, 8080).protocol is HTTP
    assert on_port([service("s", 1, port("tcp"), port("http"))], POD, 8080).protocol is TCP


def test_a_port_that_no_service_leads_to_is_found_out() -> None:
    assert on_port([service("s", 1, port("tcp", 9090))], POD, 8080) == PortProtocol()
    other = service("other", 1, port("tcp"))
    other["spec"]["selector"] = {"app": "other"}
    assert on_port([other], POD, 8080) == PortProtocol()
