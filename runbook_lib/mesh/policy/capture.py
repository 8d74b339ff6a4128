"""Which connections of a pod go through its sidecar: no policy of the mesh holds for the others.

The order is that of the iptables rules in tools/istio-iptables/pkg/capture/run.go of Istio; the
annotations are described at https://istio.io/latest/docs/reference/config/annotations/.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from itertools import pairwise

from runbook_lib.cluster import Object, annotations_of
from runbook_lib.mesh.policy.reason import Reason

_PREFIX = "traffic.sidecar.istio.io/"
_MODE = "sidecar.istio.io/interceptionMode"
_FLAGS = {
    "includeInboundPorts": "-b",
    "excludeInboundPorts": "-d",
    "includeOutboundPorts": "-q",
    "excludeOutboundPorts": "-o",
    "includeOutboundIPRanges": "-i",
    "excludeOutboundIPRanges": "-x",
}
"""The annotations, with the options by which the injection template hands them on."""

_INIT = ("istio-init", "istio-validation")
_ALL = "*"


def why_not_inbound(pod: Object, port: int) -> Reason | None:
    """Return why connections to a port of a pod with a sidecar go past it; None if they do not.

    Then the container gets what callers send: plaintext is accepted whatever PeerAuthentications
    say, AuthorizationPolicies decide nothing, and mutual TLS reaches a container that has none.
    """
    if none := _no_interception(pod):
        return none
    included = _setting(pod, "includeInboundPorts", _ALL)
    if included != _ALL:
        # A list replaces the exclusions.
        if str(port) in _list(included):
            return None
        return _reason(pod, "includeInboundPorts", included, f"port {port} is not in the list")
    excluded = _setting(pod, "excludeInboundPorts", "")
    if str(port) in _list(excluded):
        return _reason(pod, "excludeInboundPorts", excluded, f"port {port} is in the list")
    return None


def why_not_outbound(pod: Object, port: int, address: str = "") -> Reason | None:
    """Return why a pod's own calls go past its sidecar; None if they do not.

    Then they are sent as plaintext, and DestinationRules have no effect on them.

    Args:
        pod: The caller, which has a sidecar.
        port: The port that it calls: a Service's, not its target.
        address: The IP address that it calls, a Service's clusterIP; empty if that is not known,
            and so ranges are not judged.
    """
    if none := _no_interception(pod):
        return none
    excluded = _setting(pod, "excludeOutboundPorts", "")
    if str(port) in _list(excluded):
        return _reason(pod, "excludeOutboundPorts", excluded, f"port {port} is in the list")
    ranges = _setting(pod, "excludeOutboundIPRanges", "")
    if address and _contains(ranges, address):
        return _reason(pod, "excludeOutboundIPRanges", ranges, f"{address} is in the list")
    if str(port) in _list(_setting(pod, "includeOutboundPorts", "")):
        return None
    ranges = _setting(pod, "includeOutboundIPRanges", _ALL)
    if ranges != _ALL and (not ranges or (address and not _contains(ranges, address))):
        what = f"{address} is not in the list" if ranges else "the list is empty"
        return _reason(pod, "includeOutboundIPRanges", ranges, what)
    return None


def _no_interception(pod: Object) -> Reason | None:
    mode = annotations_of(pod).get(_MODE)
    if mode == "NONE":
        return Reason(pod, f".metadata.annotations.{_MODE}", mode, "nothing is redirected")
    return None


def _setting(pod: Object, name: str, default: str) -> str:
    """Return what was set up when the pod started; annotations changed later have no effect."""
    options = _options(pod)
    if options:
        return options.get(_FLAGS[name], default)
    return annotations_of(pod).get(_PREFIX + name, default).strip()


def _reason(pod: Object, name: str, found: str, why: str) -> Reason:
    said = annotations_of(pod).get(_PREFIX + name)
    if said is not None:
        return Reason(pod, f".metadata.annotations.{_PREFIX}{name}", said or '""', why)
    # Set for the whole mesh, in istiod's values.
    return Reason(pod, f".spec.initContainers[istio-init].args {_FLAGS[name]}", found or '""', why)


def _options(pod: Object) -> dict[str, str]:
    for container in pod["spec"].get("initContainers") or []:
        args = container.get("args") or []
        if container["name"] in _INIT and "istio-iptables" in args:
            pairs = pairwise(args)
            return {key: value.strip() for key, value in pairs if key in _FLAGS.values()}
    return {}


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _contains(ranges: str, address: str) -> bool:
    desired = ipaddress.ip_address(address)
    return any(desired in network for network in _networks(ranges))


def _networks(ranges: str) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for each in _list(ranges):
        if each != _ALL:
            yield ipaddress.ip_network(each, strict=False)
