"""Istio's standard metrics from upstream Envoy, which lacks Istio's filter for them.

Istio's build of Envoy counts requests in the filter `istio.stats`. Upstream Envoy has an access
logger that counts as well, with labels that are format strings, so the names and labels of
https://istio.io/latest/docs/reference/config/metrics/ can be had for what a sidecar receives and
for what it calls. Different from the filter: the receiver knows a caller by its certificate alone
(workloads are exchanged by another of Istio's filters), TCP counts when a connection ends, and
`istio_tcp_connections_opened_total` is missing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.workloads.pods import containers

Object = dict[str, Any]

NAMESPACE = "wasmcustom"
"""Statistics below a registered namespace lose it, and the prefix `envoy_`, in Prometheus' format.

Only Envoy's extensions register one; Istio's metrics came under this one when they were made by
a Wasm module.
"""

POD_LABEL = "lab.istio-runbook/pod"
"""Label of a pod that holds its own name, for what is for that pod alone."""

_API = "networking.istio.io/v1alpha3"
_TYPE = "type.googleapis.com/envoy"
_UNKNOWN = "unknown"

# For every request or connection; CEL attributes are Envoy's.
_PEER = "%CEL(connection.mtls ? connection.uri_san_peer_certificate : 'unknown')%"
_SELF = "%CEL(connection.mtls ? connection.uri_san_local_certificate : 'unknown')%"
_POLICY = "%CEL(connection.mtls ? 'mutual_tls' : 'none')%"
_GRPC = (
    "%CEL('content-type' in request.headers"
    " && request.headers['content-type'].startsWith('application/grpc') ? 'grpc' : 'http')%"
)


def _service(key: str) -> str:
    """What istiod writes into an inbound cluster's metadata about its Service."""
    metadata = "xds.cluster_metadata.filter_metadata"
    return (
        f"%CEL('istio' in {metadata} && 'services' in {metadata}['istio']"
        f" ? {metadata}['istio']['services'][0]['{key}'] : 'unknown')%"
    )


def with_stat_namespace(bootstrap: str) -> str:
    """Istio's bootstrap template with the namespace registered: the Wasm extension does so."""
    head, opening, tail = bootstrap.partition('"bootstrap_extensions": [')
    assert opening, "Istio's bootstrap template lists its extensions"
    code = base64.b64encode(_module()).decode()
    extension = {
        "name": "envoy.bootstrap.wasm",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.wasm.v3.WasmService",
            "singleton": True,
            "config": {
                "name": "stat-namespace",
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"inline_bytes": code}},
                },
            },
        },
    }
    return f"{head}{opening}\n{json.dumps(extension)},{tail}"


def _module() -> bytes:
    """The smallest Wasm module that Envoy accepts: it does nothing."""
    types = b"\x02" + b"\x60\x00\x00" + b"\x60\x01\x7f\x01\x7f"  # () -> (), (i32) -> i32
    functions = b"\x02\x00\x01"
    memory = b"\x01\x00\x01"
    exports = b"".join(
        bytes([len(name)]) + name + kind
        for name, kind in (
            (b"memory", b"\x02\x00"),
            (b"proxy_abi_version_0_2_1", b"\x00\x00"),
            (b"malloc", b"\x00\x01"),
        )
    )
    code = b"\x02" + b"\x02\x00\x0b" + b"\x04\x00\x41\x00\x0b"  # nothing; return 0
    sections = {1: types, 3: functions, 5: memory, 7: b"\x03" + exports, 10: code}
    body = b"".join(bytes([kind, len(data)]) + data for kind, data in sections.items())
    return b"\0asm\x01\0\0\0" + body


async def count_requests(api: Api, pod: Object) -> None:
    """Have the pod's sidecar count requests, by an EnvoyFilter that goes with the pod."""
    meta = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    await api.apply(
        f"/apis/{_API}/namespaces/{meta['namespace']}/envoyfilters/{meta['name']}",
        {
            "apiVersion": _API,
            "kind": "EnvoyFilter",
            "metadata": {
                "name": meta["name"],
                "namespace": meta["namespace"],
                "labels": {"app.kubernetes.io/managed-by": "istio-runbook-lab"},
                "ownerReferences": [owner],
                # `istioctl analyze` warns of every EnvoyFilter; this one is not the user's to mend.
                "annotations": {"galley.istio.io/analyze-suppress": "IST0133"},
            },
            "spec": {
                "workloadSelector": {"labels": {POD_LABEL: meta["name"]}},
                "configPatches": metrics_patches(pod),
            },
        },
    )


def metrics_patches(pod: Object) -> list[Object]:
    """EnvoyFilter patches that have a pod's sidecar count in Istio's terms.

    It counts what it receives, and what it calls.
    """
    return [
        patch
        for context, labels in (
            ("SIDECAR_INBOUND", _received(pod)),
            ("SIDECAR_OUTBOUND", _called(pod)),
        )
        for patch in _counting(context, labels)
    ]


def _counting(context: str, labels: dict[str, str]) -> list[Object]:
    http = labels | {
        "request_protocol": _GRPC,
        "response_code": "%RESPONSE_CODE%",
        "response_flags": "%RESPONSE_FLAGS%",
        "grpc_response_status": "%GRPC_STATUS_NUMBER%",
    }
    tcp = labels | {"request_protocol": "tcp", "response_flags": "%RESPONSE_FLAGS%"}
    requests: Object = {
        "counters": [{"stat": _stat("istio_requests_total", http), "value_fixed": 1}],
        "histograms": [
            {"stat": _stat(name, http), "unit": unit, "value_format": value}
            for name, unit, value in (
                ("istio_request_duration_milliseconds", "Milliseconds", "%DURATION%"),
                ("istio_request_bytes", "Bytes", "%BYTES_RECEIVED%"),
                ("istio_response_bytes", "Bytes", "%BYTES_SENT%"),
            )
        ],
    }
    connections: Object = {
        "counters": [
            {"stat": _stat("istio_tcp_connections_closed_total", tcp), "value_fixed": 1},
            *(
                {"stat": _stat(f"istio_tcp_{name}_bytes_total", tcp), "value_format": value}
                for name, value in (("received", "%BYTES_RECEIVED%"), ("sent", "%BYTES_SENT%"))
            ),
        ],
    }
    return [
        _logging(
            context,
            "http_connection_manager",
            "http_connection_manager.v3.HttpConnectionManager",
            requests,
        ),
        _logging(context, "tcp_proxy", "tcp_proxy.v3.TcpProxy", connections),
    ]


def _received(pod: Object) -> dict[str, str]:
    return {
        "reporter": "destination",
        **_workload("source", dict.fromkeys(_WORKLOAD, _UNKNOWN)),
        # Of a caller only the certificate is known, which tells it from one outside the mesh.
        "source_workload": _PEER,
        "source_principal": _PEER,
        **_workload("destination", _own(pod)),
        "destination_principal": _SELF,
        **_destination_service(),
        "connection_security_policy": _POLICY,
    }


def _called(pod: Object) -> dict[str, str]:
    return {
        "reporter": "source",
        **_workload("source", _own(pod)),
        "source_principal": _upstream("uri_san_local_certificate"),
        **_workload("destination", dict.fromkeys(_WORKLOAD, _UNKNOWN)),
        "destination_principal": _upstream("uri_san_peer_certificate"),
        # Name, namespace, canonical name, canonical revision and cluster in one.
        CALLED: "%METADATA(UPSTREAM_HOST:istio:workload)%",
        **_destination_service(),
        "connection_security_policy": _UNKNOWN,  # as Istio's filter: the receiver tells
    }


CALLED = "destination_parts"
"""Label of what a sidecar calls; `relabelling` makes Istio's labels of it."""

_PARTS = (
    "destination_workload",
    "destination_workload_namespace",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_cluster",
)


def relabelling() -> list[Object]:
    """Prometheus' `metric_relabel_configs` that take the workload that was called apart."""
    each = [
        {
            "source_labels": [CALLED],
            "regex": "([^;]+)" + ";([^;]*)" * (len(_PARTS) - 1),
            "target_label": label,
            "replacement": f"${number}",
        }
        for number, label in enumerate(_PARTS, start=1)
    ]
    return [*each, {"action": "labeldrop", "regex": CALLED}]


_WORKLOAD = {
    "workload": "{}_workload",
    "namespace": "{}_workload_namespace",
    "canonical_service": "{}_canonical_service",
    "canonical_revision": "{}_canonical_revision",
    "app": "{}_app",
    "version": "{}_version",
    "cluster": "{}_cluster",
}


def _workload(side: str, facts: dict[str, str]) -> dict[str, str]:
    return {label.format(side): facts[name] for name, label in _WORKLOAD.items()}


def _own(pod: Object) -> dict[str, str]:
    meta = pod["metadata"]
    labels = meta.get("labels", {})
    workload = next(_injected(pod, "ISTIO_META_WORKLOAD_NAME"), _UNKNOWN)
    return {
        "workload": workload,
        "namespace": meta["namespace"],
        "canonical_service": labels.get("service.istio.io/canonical-name", workload),
        "canonical_revision": labels.get("service.istio.io/canonical-revision", "latest"),
        "app": labels.get("app", _UNKNOWN),
        "version": labels.get("version", _UNKNOWN),
        "cluster": next(_injected(pod, "ISTIO_META_CLUSTER_ID"), _UNKNOWN),
    }


def _destination_service() -> dict[str, str]:
    return {
        "destination_service": _service("host"),
        "destination_service_name": _service("name"),
        "destination_service_namespace": _service("namespace"),
    }


def _upstream(attribute: str) -> str:
    return f"%CEL('{attribute}' in upstream ? upstream.{attribute} : 'unknown')%"


def _injected(pod: Object, name: str) -> Iterator[str]:
    """The value that the injector gave an environment variable of the sidecar."""
    for container in containers(pod):
        if container.proxies:
            for entry in container.spec.get("env", []):
                if entry["name"] == name and "value" in entry:
                    yield entry["value"]


def _stat(name: str, labels: dict[str, str]) -> Object:
    tags = [{"name": label, "value_format": value} for label, value in labels.items()]
    return {"name": name, "tags": tags}


def _logging(context: str, filter_name: str, config: str, stats: Object) -> Object:
    logger = {
        "name": "envoy.access_loggers.stats",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.access_loggers.stats.v3.Config",
            "stats_scope": {"prefix": NAMESPACE},
            **stats,
        },
    }
    return {
        "applyTo": "NETWORK_FILTER",
        "match": {
            "context": context,
            "listener": {
                "filterChain": {"filter": {"name": f"envoy.filters.network.{filter_name}"}}
            },
        },
        "patch": {
            "operation": "MERGE",
            "value": {
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.filters.network.{config}",
                    "access_log": [logger],
                }
            },
        },
    }
