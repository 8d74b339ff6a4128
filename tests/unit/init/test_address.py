"""Where users reach the web part, as URLs have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.init import address
from runbook_lib.init.web import Way
from tests.unit.doubles.given_cluster import context

PORT: dict[str, Any] = {"port": 80, "nodePort": 30080}
KEY = ("StatefulSet", "xnat-xnat-web")


def service(kind: str, **status: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "xnat"}
    return {"kind": "Service", "metadata": metadata, "spec": {"type": kind}, "status": status}


@pytest.mark.parametrize(
    ("host", "url"), [("192.0.2.7", "http://192.0.2.7"), ("2001:db8::7", "http://[2001:db8::7]")]
)
def test_addresses_of_ipv6_are_in_brackets(tmp_path: Path, host: str, url: str) -> None:
    balanced = service("LoadBalancer", loadBalancer={"ingress": [{"ip": host}]})
    (found,) = address.of(context(tmp_path), Way(KEY, balanced, PORT, 8080, None, http=True))
    assert found.url == url
    node = {
        "kind": "Node",
        "metadata": {"name": "node"},
        "status": {"addresses": [{"type": "ExternalIP", "address": host}]},
    }
    (found,) = address.of(
        context(tmp_path, node), Way(KEY, service("NodePort"), PORT, 8080, None, http=True)
    )
    assert found.url == f"{url}:30080"
