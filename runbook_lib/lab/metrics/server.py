"""The lab's metrics API, `metrics.k8s.io`: what autoscalers and `kubectl top pods` read.

The API server forwards requests for this API to a server here (API aggregation), after it has
checked who asks and whether they may. Containers with a process are measured. Simulated ones
report a constant; their pods carry a label that says so. A pod's annotation can play a load.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from runbook_lib.lab.foundation.addresses import NODE_IP
from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.certificates import Pair
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.https import Request, Response, serve
from runbook_lib.lab.metrics.usage import WINDOW, Meter, Usage
from runbook_lib.lab.workloads.pods import Container, containers, parse_quantity

Object = dict[str, Any]

PLAYED_LOAD = "lab.istio-runbook/cpu-usage"
"""Pod annotation with the CPU that its containers are to report, as JSON: {"xnat": "80m"}."""

NAMESPACE, NAME = "kube-system", "metrics-server"
HOST = f"{NAME}.{NAMESPACE}.svc"
"""The name that the API server expects in the server's certificate."""

PORT = 4443
"""Where the API server finds it, on the node."""

SIMULATED_CPU, SIMULATED_MEMORY = 0.001, 16 * 2**20

_GROUP_VERSION = "metrics.k8s.io/v1beta1"
_ROOT = f"/apis/{_GROUP_VERSION}"
_RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": _GROUP_VERSION,
    "resources": [
        {
            "name": "pods",
            "singularName": "",
            "namespaced": True,
            "kind": "PodMetrics",
            "verbs": ["get", "list"],
        }
    ],
}


class PlayedLoadError(LabError):
    """A pod's annotation is not what it should be."""


class MetricsServer:
    """Answers the API server, and no one else, over mutual TLS.

    Args:
        api: Where pods are looked up.
        meter: Measures containers, by the label `namespace/pod/container`.
    """

    def __init__(self, api: Api, meter: Meter) -> None:
        self._api, self._meter = api, meter

    async def start(self, serving: Pair, clients: Path) -> asyncio.Server:
        """Listen on the node's address.

        Args:
            serving: The server's certificate.
            clients: The authority of the API server's front-proxy certificate.
        """
        return await serve(self._answer, NODE_IP, PORT, serving=serving, clients=clients)

    async def _answer(self, request: Request) -> Response:
        return Response.of(*await self._metrics_of(request))

    async def _metrics_of(self, request: Request) -> tuple[int, Object]:
        path = request.path.rstrip("/")
        if request.method != "GET":
            return _failure(405, "MethodNotAllowed", "metrics can only be read")
        if path == _ROOT:
            return 200, _RESOURCES
        words = path.removeprefix(_ROOT).split("/")[1:]
        if not path.startswith(_ROOT) or "pods" not in (words[-1], *words[-2:-1]):
            return _failure(404, "NotFound", f"there is no {path}")
        try:
            found = await self._api.get(f"/api/v1/{'/'.join(words)}?{_selectors(request.query)}")
            if found is None:
                return _failure(404, "NotFound", f"there is no {path}")
            return self._metrics(found)
        except (LabError, httpx.HTTPError) as error:
            return _failure(500, "InternalError", str(error))

    def _metrics(self, found: Object) -> tuple[int, Object]:
        """Turn a pod, or a list of them, into metrics; pods without any yet are left out."""
        if "items" not in found:
            one = self._of_pod(found)
            if one is None:
                return _failure(404, "NotFound", "the pod has no metrics yet")
            return 200, one
        items = [item for pod in found["items"] if (item := self._of_pod(pod))]
        return 200, {
            "kind": "PodMetricsList",
            "apiVersion": _GROUP_VERSION,
            "metadata": {},
            "items": items,
        }

    def _of_pod(self, pod: Object) -> Object | None:
        if pod["status"].get("phase") != "Running":
            return None
        meta = pod["metadata"]
        measured = {
            each.name: self._of_container(pod, each)
            for each in containers(pod)
            if not each.init or each.sidecar
        }
        usages = {name: usage for name, usage in measured.items() if usage}
        if len(usages) < len(measured):
            # As a metrics server does: a sum without all of its parts would be wrong.
            return None
        played = played_load(pod)
        return {
            "kind": "PodMetrics",
            "apiVersion": _GROUP_VERSION,
            "metadata": {
                "name": meta["name"],
                "namespace": meta["namespace"],
                "creationTimestamp": _time(dt.datetime.now(dt.UTC)),
                "labels": meta.get("labels", {}),
            },
            "timestamp": _time(min(usage.at for usage in usages.values())),
            "window": f"{max(usage.window for usage in usages.values()):.3f}s",
            "containers": [
                {"name": name, "usage": _amounts(played.get(name, usage.cpu), usage.memory)}
                for name, usage in usages.items()
            ],
        }

    def _of_container(self, pod: Object, container: Container) -> Usage | None:
        if container.program is None:
            return Usage(SIMULATED_CPU, SIMULATED_MEMORY, dt.datetime.now(dt.UTC), WINDOW)
        meta = pod["metadata"]
        return self._meter.usage(f"{meta['namespace']}/{meta['name']}/{container.name}")


def played_load(pod: Object) -> Mapping[str, float]:
    """The CPU that a pod's annotation gives to containers, in cores.

    Raises:
        PlayedLoadError: The annotation is not a mapping of containers to quantities.
    """
    meta = pod["metadata"]
    text = meta.get("annotations", {}).get(PLAYED_LOAD, "{}")
    try:
        return {name: parse_quantity(cpu) for name, cpu in json.loads(text).items()}
    except (ValueError, AttributeError) as error:
        raise PlayedLoadError(
            f"pod {meta['namespace']}/{meta['name']}: the annotation {PLAYED_LOAD} is {text!r}",
            remedy='write it as JSON, such as {"xnat": "80m"}',
        ) from error


async def register(api: Api, authority: Path) -> None:
    """Have the API server forward the metrics API.

    Args:
        api: The API server.
        authority: The certificate that signed the server's.
    """
    meta = {"name": NAME, "namespace": NAMESPACE}
    ports = [{"name": "https", "port": PORT}]
    for version, plural, body in (
        ("api/v1", "services", {"kind": "Service", "spec": {"ports": ports}}),
        (
            # By hand: there is no pod that a selector could find.
            "apis/discovery.k8s.io/v1",
            "endpointslices",
            {
                "kind": "EndpointSlice",
                "addressType": "IPv4",
                "ports": ports,
                "endpoints": [{"addresses": [NODE_IP], "conditions": {"ready": True}}],
            },
        ),
    ):
        labels = {"kubernetes.io/service-name": NAME}
        await api.apply(
            f"/{version}/namespaces/{NAMESPACE}/{plural}/{NAME}",
            {
                "apiVersion": version.partition("/")[2],
                "metadata": {**meta, "labels": labels},
                **body,
            },
        )
    await api.apply(
        f"/apis/apiregistration.k8s.io/v1/apiservices/{_NAME_OF_API}",
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": _NAME_OF_API},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {**meta, "port": PORT},
                "caBundle": base64.b64encode(authority.read_bytes()).decode(),
            },
        },
    )


_NAME_OF_API = "v1beta1.metrics.k8s.io"


async def missing(api: Api) -> str | None:
    """None when the API server reaches the metrics API, else what is missing."""
    found = await api.get(f"/apis/apiregistration.k8s.io/v1/apiservices/{_NAME_OF_API}") or {}
    for condition in found.get("status", {}).get("conditions") or []:
        if condition["type"] == "Available" and condition["status"] == "True":
            return None
        return f"APIService {_NAME_OF_API}: {condition.get('message', condition['type'])}"
    return f"APIService {_NAME_OF_API} has no condition yet"


def _selectors(given: Mapping[str, list[str]]) -> str:
    selectors = ("labelSelector", "fieldSelector")
    return urlencode([(name, given[name][0]) for name in selectors if name in given])


def _failure(code: int, reason: str, message: str) -> tuple[int, Object]:
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


def _amounts(cores: float, memory: int) -> Object:
    return {"cpu": f"{round(cores * 1e9)}n", "memory": f"{memory // 1024}Ki"}


def _time(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
