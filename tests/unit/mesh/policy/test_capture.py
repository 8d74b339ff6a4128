"""Connections that go past a sidecar, by annotations and by what the init container was told."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.cluster import Object
from runbook_lib.mesh.policy import why_not_inbound, why_not_outbound

PREFIX = "traffic.sidecar.istio.io/"


def pod(*args: str, **annotations: str) -> Object:
    spec: dict[str, Any] = {"containers": [{"name": "web"}, {"name": "istio-proxy"}]}
    if args:
        spec["initContainers"] = [{"name": "istio-init", "args": ["istio-iptables", *args]}]
    said = {f"{PREFIX}{key}": value for key, value in annotations.items()}
    metadata = {"name": "web-0", "namespace": "xnat", "annotations": said}
    return {"kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("annotations", "past"),
    [
        ({}, False),
        ({"excludeInboundPorts": "8080"}, True),
        ({"excludeInboundPorts": "9090, 8080"}, True),
        ({"excludeInboundPorts": "9090"}, False),
        ({"includeInboundPorts": "*"}, False),
        ({"includeInboundPorts": "8080,9090"}, False),
        ({"includeInboundPorts": "9090"}, True),
        ({"includeInboundPorts": ""}, True),
        # Exclusions count only beside an asterisk.
        ({"includeInboundPorts": "8080", "excludeInboundPorts": "8080"}, False),
    ],
)
def test_inbound(annotations: dict[str, str], past: bool) -> None:
    reason = why_not_inbound(pod(**annotations), 8080)
    assert (reason is not None) is past
    if reason is not None:
        assert reason.path.startswith(f".metadata.annotations.{PREFIX}")


@pytest.mark.parametrize(
    ("annotations", "past"),
    [
        ({}, False),
        ({"excludeOutboundPorts": "5432"}, True),
        ({"excludeOutboundPorts": "5433"}, False),
        ({"excludeOutboundIPRanges": "10.0.0.0/8"}, True),
        ({"excludeOutboundIPRanges": "10.9.0.0/16"}, False),
        ({"includeOutboundIPRanges": "*"}, False),
        ({"includeOutboundIPRanges": "10.0.0.0/16"}, False),
        ({"includeOutboundIPRanges": "192.168.0.0/16"}, True),
        ({"includeOutboundIPRanges": ""}, True),
        # A port that is listed is captured whatever the address, unless that is excluded.
        ({"includeOutboundIPRanges": "", "includeOutboundPorts": "5432"}, False),
        ({"excludeOutboundIPRanges": "10.0.0.1/32", "includeOutboundPorts": "5432"}, True),
        ({"excludeOutboundPorts": "5432", "includeOutboundPorts": "5432"}, True),
    ],
)
def test_outbound(annotations: dict[str, str], past: bool) -> None:
    reason = why_not_outbound(pod(**annotations), 5432, "10.0.0.1")
    assert (reason is not None) is past


def test_ranges_are_not_judged_for_an_address_that_is_not_known() -> None:
    ranges = {"excludeOutboundIPRanges": "10.0.0.0/8", "includeOutboundIPRanges": "192.168.0.0/16"}
    assert why_not_outbound(pod(**ranges), 5432) is None


def test_what_the_init_container_was_told_holds_and_not_a_later_annotation() -> None:
    told = ("-b", "*", "-d", "15090,15021,8080", "-i", "*", "-x", "")
    reason = why_not_inbound(pod(*told), 8080)
    assert reason is not None
    assert reason.text == (
        "Pod xnat/web-0 .spec.initContainers[istio-init].args -d: 15090,15021,8080"
    )
    assert why_not_inbound(pod("-b", "*", "-d", "15090", excludeInboundPorts="8080"), 8080) is None
    assert why_not_outbound(pod(*told, "-o", "5432"), 5432) is not None


def test_a_pod_whose_traffic_is_not_redirected_is_not_captured() -> None:
    found = pod()
    found["metadata"]["annotations"] = {"sidecar.istio.io/interceptionMode": "NONE"}
    assert why_not_inbound(found, 8080) is not None
    assert why_not_outbound(found, 5432) is not None
