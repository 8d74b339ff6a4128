"""The Job of a caller: Envoy, which passes on what comes to a port of the pod's loopback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from runbook_lib.cluster import PROXY, Manifests, Object
from runbook_lib.mesh.callers.model import Asker, Endpoint
from runbook_lib.mesh.injection import marks

CALLER = "istio-runbook/caller"
"""Label of a caller's pod; its value is the name of the Job."""

_FIRST_PORT = 18001
_CONNECT_TIMEOUT = "60s"
"""Longer than anyone waits for an answer, so that silence is not taken for a closed connection."""

_MANIFESTS = Manifests(__file__)


def job(
    caller: Asker, servers: Sequence[Endpoint], like: Object, *, seconds: int, revision: str
) -> Object:
    """Return the Job of a caller.

    Args:
        caller: The caller.
        servers: Whom it can call, each at a port of its loopback, see `ports`.
        like: A pod with a sidecar, from which image, pull secrets, tolerations and
            node are taken.
        seconds: After that time Kubernetes removes it.
        revision: Istio's, `default` for the one without a name.
    """
    manifest = _MANIFESTS.named("caller", caller.job, caller.namespace)
    spec = manifest["spec"]
    spec["activeDeadlineSeconds"] = seconds
    spec["template"]["metadata"]["labels"] = {
        CALLER: caller.job,
        **marks(revision, sidecar=caller.sidecar),
    }
    pod = spec["template"]["spec"]
    pod["serviceAccountName"] = caller.account
    if secrets := like["spec"].get("imagePullSecrets"):
        pod["imagePullSecrets"] = secrets
    if tolerations := like["spec"].get("tolerations"):
        pod["tolerations"] = tolerations
    if node := like["spec"].get("nodeName"):
        pod["affinity"] = _near(node)
    (container,) = pod["containers"]
    container["image"] = _proxy(like)["image"]
    container["args"][-1] = yaml.safe_dump(configuration(servers), sort_keys=False)
    return manifest


def ports(servers: Sequence[Endpoint]) -> list[int]:
    """Return the port of a caller's loopback for each server."""
    return [_FIRST_PORT + number for number in range(len(servers))]


def configuration(servers: Sequence[Endpoint]) -> dict[str, Any]:
    """Return Envoy's configuration: bytes are passed on as they are."""
    found = list(zip(servers, ports(servers), strict=True))
    return {
        "static_resources": {
            "listeners": [_listener(server, port) for server, port in found],
            "clusters": [_cluster(server) for server in servers],
        }
    }


def _listener(server: Endpoint, port: int) -> dict[str, Any]:
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": server.service,
        "cluster": server.service,
    }
    filters = [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]
    return {
        "name": server.service,
        "address": _address("127.0.0.1", port),
        "filter_chains": [{"filters": filters}],
    }


def _cluster(server: Endpoint) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(server.host, server.port)}}
    return {
        "name": server.service,
        "type": "LOGICAL_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        # The sidecar may not be ready when the first look-up is made.
        "dns_failure_refresh_rate": {"base_interval": "0.2s", "max_interval": "1s"},
        "connect_timeout": _CONNECT_TIMEOUT,
        "load_assignment": {
            "cluster_name": server.service,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _near(node: str) -> dict[str, Any]:
    """Prefer a node that has the image already."""
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    preference = {"weight": 100, "preference": {"matchExpressions": [term]}}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}}


def _proxy(pod: Object) -> Object:
    every = [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]
    return next(container for container in every if container["name"] == PROXY)
