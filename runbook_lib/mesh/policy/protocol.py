"""As what a sidecar reads the traffic of a port: what its oldest Service declares.

See https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/ and
`ConvertProtocol` in pkg/config/kube/conversion.go of Istio.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from runbook_lib.cluster import Object, labels_of, reference
from runbook_lib.mesh.policy.reason import Reason, age, spec_of


class Protocol(StrEnum):
    """As what a sidecar reads traffic."""

    HTTP = "HTTP"
    TCP = "TCP"
    DETECTED = "found out from what is sent"


@dataclass(frozen=True)
class PortProtocol:
    """The protocol of a container's port.

    Attributes:
        protocol: As what the sidecar reads it.
        reason: The field that says so; None if no Service leads to the port or none declares it.
    """

    protocol: Protocol = Protocol.DETECTED
    reason: Reason | None = None


_HTTP = ("http", "http2", "http_proxy", "grpc", "grpc-web")
_TCP = ("tcp", "tls", "https", "mongo", "mysql", "redis", "udp")
"""Protocols whose content the sidecar does not read, for RBAC: see `IsTCP` of Istio."""

_APPLICATION = {
    "kubernetes.io/h2c": Protocol.HTTP,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.TCP,
}
_SERVER_SPEAKS_FIRST = (25, 53, 3306, 27017)
"""Ports of a Service that are TCP if nothing is declared, as finding out would break them."""


def declared(port: Object) -> tuple[Protocol, str]:
    """Return the protocol of a Service's port, and the field that says so.

    Args:
        port: An entry of the Service's `.spec.ports`.

    Returns:
        The protocol, and `appProtocol`, `name`, `protocol` or `port`; empty if nothing says so.
    """
    if port.get("protocol") == "UDP":
        return Protocol.TCP, "protocol"
    key = "appProtocol" if port.get("appProtocol") else "name"
    text = str(port.get(key) or "")
    if key == "appProtocol" and text in _APPLICATION:
        return _APPLICATION[text], key
    prefix = text.lower().partition("-")[0]
    if prefix in _HTTP:
        return Protocol.HTTP, key
    if prefix in _TCP:
        return Protocol.TCP, key
    if port["port"] in _SERVER_SPEAKS_FIRST:
        return Protocol.TCP, "port"
    return Protocol.DETECTED, ""


def on_port(services: Iterable[Object], pod: Object, number: int) -> PortProtocol:
    """Return as what a pod's sidecar reads a port of it: of several Services the oldest decides.

    See `buildInboundChainConfigs` in pilot/pkg/networking/core/listener_inbound.go of Istio.

    Args:
        services: The Services of the pod's namespace.
        pod: The pod, or a template of pods.
        number: The container's port.
    """
    leading = [
        (service, index, port)
        for service in sorted(services, key=age)
        if serves(service, pod)
        for index, port in enumerate(spec_of(service).get("ports") or [])
        if target(port, pod) == number
    ]
    if not leading:
        return PortProtocol()
    service, index, port = leading[0]
    protocol, key = declared(port)
    if not key:
        return PortProtocol(protocol)
    others = [reference(other) for other, _, p in leading[1:] if declared(p)[0] is not protocol]
    why = f"the oldest Service of the port decides, and not {', '.join(others)}" if others else ""
    return PortProtocol(
        protocol, Reason(service, f".spec.ports[{index}].{key}", str(port[key]), why)
    )


def serves(service: Object, pod: Object) -> bool:
    """Whether a Service leads to a pod: its selector matches, and it has ports."""
    selected_by = spec_of(service).get("selector") or {}
    leads = bool(selected_by) and bool(spec_of(service).get("ports"))
    return leads and selected_by.items() <= labels_of(pod).items()


def cluster_ip(service: Object) -> str:
    """Return the address at which pods call a Service; empty if it has none of its own."""
    address = spec_of(service).get("clusterIP") or ""
    return "" if address == "None" else str(address)


def target(port: Object, pod: Object) -> int | None:
    """Return the container's port behind an entry of a Service's ports; None if it has none."""
    number: int | str | None = port.get("targetPort", port["port"])
    if isinstance(number, str):
        ports = [p for c in pod["spec"]["containers"] for p in c.get("ports") or []]
        return next((p["containerPort"] for p in ports if p.get("name") == number), None)
    return number


def service_targets(service: Object, pod: Object) -> list[tuple[int, int]]:
    """Return each port of a Service with the container's port that it leads to in a pod."""
    return [
        (port["port"], number)
        for port in spec_of(service).get("ports") or []
        if (number := target(port, pod)) is not None
    ]
