"""Why a setting of a PeerAuthentication holds on a port, or does not."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.cluster import Object
from runbook_lib.mesh.policy import mode_on_port, why_not_on_port

WEB = {"app": "web"}


def peer(
    name: str = "default",
    namespace: str = "xnat",
    mode: str = "",
    ports: dict[str, str] | None = None,
    selector: dict[str, str] | None = None,
    day: int = 1,
) -> Object:
    spec: dict[str, Any] = {"mtls": {"mode": mode}} if mode else {}
    if selector:
        spec["selector"] = {"matchLabels": selector}
    if ports:
        spec["portLevelMtls"] = {port: {"mode": value} for port, value in ports.items()}
    created = f"2026-01-{day:02}T00:00:00Z"
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return {"kind": "PeerAuthentication", "metadata": metadata, "spec": spec}


MESH = peer(namespace="istio-system", mode="STRICT")
OPEN = peer("open", ports={"8080": "DISABLE"}, selector=WEB)


@pytest.mark.parametrize(
    ("policies", "mode", "reason"),
    [
        ([], "PERMISSIVE", ""),
        ([MESH], "STRICT", "PeerAuthentication istio-system/default .spec.mtls.mode: STRICT"),
        (
            [MESH, OPEN],
            "DISABLE",
            "PeerAuthentication xnat/open .spec.portLevelMtls.8080.mode: DISABLE",
        ),
        # UNSET inherits: the port from the workload, the workload from the namespace, and so on.
        (
            [MESH, peer(mode="UNSET"), peer("w", ports={"8080": "UNSET"}, selector=WEB)],
            "STRICT",
            "PeerAuthentication istio-system/default .spec.mtls.mode: STRICT",
        ),
        (
            [peer("w", mode="STRICT", ports={"8080": "UNSET"}, selector=WEB)],
            "STRICT",
            "PeerAuthentication xnat/w .spec.mtls.mode: STRICT",
        ),
        # Ports count with a selector alone.
        ([peer(ports={"8080": "STRICT"})], "PERMISSIVE", ""),
        # Of two that select the pods the older decides alone, also where it says nothing.
        (
            [MESH, peer("older", selector=WEB), peer("z", "xnat", "", {"8080": "DISABLE"}, WEB, 2)],
            "STRICT",
            "PeerAuthentication istio-system/default .spec.mtls.mode: STRICT",
        ),
        # Of the same age, the first by name.
        (
            [peer("b", mode="STRICT", selector=WEB), peer("a", mode="DISABLE", selector=WEB)],
            "DISABLE",
            "PeerAuthentication xnat/a .spec.mtls.mode: DISABLE",
        ),
    ],
)
def test_the_field_that_sets_the_mode_is_named(
    policies: list[Object], mode: str, reason: str
) -> None:
    found = mode_on_port(policies, "xnat", WEB, 8080)
    assert found.mode == mode
    assert (found.reason.text if found.reason else "") == reason


@pytest.mark.parametrize(
    ("policy", "others", "path"),
    [
        (OPEN, [], None),
        (peer(namespace="shop", ports={"8080": "DISABLE"}, selector=WEB), [], "metadata.namespace"),
        (peer(ports={"8080": "DISABLE"}), [], "spec.selector"),
        (
            peer(ports={"8080": "DISABLE"}, selector={"app": "typo"}),
            [],
            "spec.selector.matchLabels.app",
        ),
        (
            peer("new", ports={"8080": "DISABLE"}, selector=WEB, day=2),
            [peer("older", selector=WEB)],
            "metadata.creationTimestamp",
        ),
        (peer(ports={"80": "DISABLE"}, selector=WEB), [], "spec.portLevelMtls"),
        (peer(ports={"8080": "UNSET"}, selector=WEB), [], "spec.portLevelMtls.8080.mode"),
    ],
)
def test_the_field_because_of_which_an_exception_does_not_hold_is_named(
    policy: Object, others: list[Object], path: str | None
) -> None:
    reason = why_not_on_port(policy, [MESH, policy, *others], "xnat", WEB, 8080)
    assert (reason.path if reason else None) == (f".{path}" if path else None)
