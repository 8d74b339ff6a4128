"""Which image sidecars are made of, from what istiod's chart renders."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runbook_lib.mesh.injection import sidecar_image


def rendered(**settings: Any) -> list[dict[str, Any]]:
    values = json.dumps({"global": settings})
    return [
        {"kind": "Deployment", "spec": {}},
        {"kind": "ConfigMap", "data": {"mesh": "{}"}},
        {"kind": "ConfigMap", "data": {"config": "{}", "values": values}},
    ]


@pytest.mark.parametrize(
    ("settings", "image"),
    [
        ({"tag": "1.31.1"}, "hub/proxyv2:1.31.1"),
        ({"tag": "1.31.1", "variant": "distroless"}, "hub/proxyv2:1.31.1-distroless"),
        ({"tag": "1.31.1-debug", "variant": "distroless"}, "hub/proxyv2:1.31.1-distroless"),
        ({"tag": 1.31}, "hub/proxyv2:1.31"),
        ({"tag": "1", "proxy": {"image": "elsewhere/proxy:2"}}, "elsewhere/proxy:2"),
    ],
)
def test_it_is_put_together_as_istiod_does(settings: dict[str, Any], image: str) -> None:
    proxy = {"image": "proxyv2", **settings.pop("proxy", {})}
    assert sidecar_image(rendered(hub="hub", proxy=proxy, **settings)) == image


def test_without_the_injectors_values_it_is_not_known() -> None:
    assert sidecar_image([{"kind": "ConfigMap", "data": {"mesh": "{}"}}]) == ""
