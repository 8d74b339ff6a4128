"""Objects that the lab adds beside a pod so that tools and traffic reach its processes.

All are owned by the pod, so the garbage collector removes them with it.
"""

from __future__ import annotations

from typing import Any

from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.metrics.telemetry import metrics_patches
from runbook_lib.lab.workloads.images import PROXY
from runbook_lib.lab.workloads.pods import containers
from runbook_lib.lab.workloads.programs import PodNetwork, declared_ports

Object = dict[str, Any]

POD_LABEL = "lab.istio-runbook/pod"

# Names of Service ports that Istio reads as HTTP (protocol selection).
_HTTP_NAMES = ("http", "grpc", "http2")


def _meta(pod: Object) -> Object:
    meta = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {
        "name": meta["name"],
        "namespace": meta["namespace"],
        "labels": {"app.kubernetes.io/managed-by": "istio-runbook-lab"},
        "ownerReferences": [owner],
    }


async def serve_logs(api: Api, pod: Object, logs: dict[str, str]) -> None:
    """Let `kubectl logs` find each container's file (KWOK's Logs).

    Args:
        logs: Container name to file.
    """
    entries = [
        {
            "containers": [name],
            "logsFile": file,
            "previousLogsFile": file.removesuffix(".log") + ".previous.log",
            "follow": True,
        }
        for name, file in logs.items()
    ]
    await _apply(api, pod, "kwok.x-k8s.io/v1alpha1", "Logs", "logs", {"logs": entries})


async def serve_ports(api: Api, pod: Object, network: PodNetwork) -> None:
    """Let `kubectl port-forward`, and so istioctl, reach the pod's ports (KWOK's PortForward)."""
    forwards = [
        {"ports": [port], "target": {"address": address, "port": real}}
        for port, (address, real) in network.local.items()
    ]
    await _apply(
        api, pod, "kwok.x-k8s.io/v1alpha1", "PortForward", "portforwards", {"forwards": forwards}
    )


async def bind_sidecar(api: Api, pod: Object, network: PodNetwork) -> None:
    """Have the pod's Envoy listen on the pod's outside address.

    Without iptables nothing redirects traffic, so a Sidecar resource binds each declared port
    there and forwards it to the application's inside address (0.0.0.0 means the instance's). An
    EnvoyFilter moves a listener whose usual port the machine does not leave free, and adds
    Istio's metrics. Outbound listeners would all bind 127.0.0.1, so there are none.
    """
    http = await _http_ports(api, pod)
    ports = [
        port
        for container in containers(pod)
        if container.program != PROXY
        for port in declared_ports(container)
    ]
    ingress = [
        {
            "port": {
                "number": port,
                "protocol": "HTTP" if port in http else "TCP",
                "name": f"{'http' if port in http else 'tcp'}-{port}",
            },
            "bind": network.outside,
            "captureMode": "NONE",
            "defaultEndpoint": f"0.0.0.0:{network.local[port][1]}",
        }
        for port in ports
    ]
    selector = {"labels": {POD_LABEL: pod["metadata"]["name"]}}
    spec = {"workloadSelector": selector, "ingress": ingress, "egress": [{"hosts": ["~/*"]}]}
    await _apply(api, pod, "networking.istio.io/v1", "Sidecar", "sidecars", spec)
    patches = [
        patch
        for port in ports
        if network.exposed[port][1] != port
        for patch in _moved(f"{network.outside}_{port}", network.exposed[port][1])
    ]
    await _apply(
        api,
        pod,
        "networking.istio.io/v1alpha3",
        "EnvoyFilter",
        "envoyfilters",
        {"workloadSelector": selector, "configPatches": [*patches, *metrics_patches(pod)]},
        # `istioctl analyze` warns of every EnvoyFilter; this one is not the user's to mend.
        annotations={"galley.istio.io/analyze-suppress": "IST0133"},
    )


def _moved(listener: str, port: int) -> list[Object]:
    """Patches that move an inbound listener, named by its usual address, to another port."""
    match = {"context": "SIDECAR_INBOUND", "listener": {"name": listener}}
    # Filter chains match the port as well; left as it is, every connection would be closed.
    values = {
        "LISTENER": {"address": {"socket_address": {"port_value": port}}},
        "FILTER_CHAIN": {"filter_chain_match": {"destination_port": port}},
    }
    return [
        {"applyTo": kind, "match": match, "patch": {"operation": "MERGE", "value": value}}
        for kind, value in values.items()
    ]


async def _http_ports(api: Api, pod: Object) -> set[int]:
    """Container ports that a Service of the namespace names as HTTP."""
    namespace = pod["metadata"]["namespace"]
    services = await api.get(f"/api/v1/namespaces/{namespace}/services")
    named = {
        each["name"]: each["containerPort"]
        for container in pod["spec"]["containers"]
        for each in container.get("ports", [])
        if "name" in each
    }
    labels = pod["metadata"].get("labels", {})
    result = set()
    for service in services["items"] if services else []:
        selector = service["spec"].get("selector")
        if not selector or not selector.items() <= labels.items():
            continue
        for port in service["spec"]["ports"]:
            protocol = port.get("appProtocol") or port.get("name", "")
            if protocol.split("-")[0] in _HTTP_NAMES:
                target = port.get("targetPort", port["port"])
                result.add(named.get(target, target))
    return result


async def _apply(
    api: Api,
    pod: Object,
    version: str,
    kind: str,
    plural: str,
    spec: Object,
    *,
    annotations: dict[str, str] | None = None,
) -> None:
    meta = _meta(pod) | {"annotations": annotations or {}}
    body = {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}
    path = f"/apis/{version}/namespaces/{meta['namespace']}/{plural}/{meta['name']}"
    await api.apply(path, body)
