"""What AWS does for a cluster: load balancers for Ingresses and Services, and the way to nodes.

An Ingress of class `alb` becomes listeners of the edge. A Service of type LoadBalancer gets a
loopback address of the host on which its own ports answer, and so do the node ports of Services
of type NodePort, on the node's external address.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from runbook_lib.lab.foundation.addresses import LOOPBACK, NODE_IP
from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.certificates import Authority, Pair
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.network.directory import Directory
from runbook_lib.lab.network.edge import EDGE_IP, Edge, Group, Health, Listener, Route
from runbook_lib.lab.network.gate import Gate
from runbook_lib.lab.network.relay import Endpoint, relay

Object = dict[str, Any]
Key = tuple[str, str]

log = logging.getLogger(__name__)

CLASS = "alb"
_ANNOTATION = "alb.ingress.kubernetes.io"
_INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
_FIRST_PORT = 18080
_ATTEMPTS = 20


@dataclass(frozen=True)
class Entrance:
    """A listener of an Ingress, as the host reaches it.

    Attributes:
        url: Without a path.
    """

    listener_port: int
    host_port: int
    url: str


class LoadBalancers:
    """All load balancers of a lab.

    Args:
        api: The API server.
        directory: All Services and their endpoints.
        gate: Makes the listening sockets.
        edge: Takes the requests for Ingresses.
        certificates: An empty folder for those that the edge shows.
        node_address: The node's external address, a loopback address of the host.
        tell: Called with the URL of each namespace's site whenever one comes or goes.
    """

    def __init__(
        self,
        api: Api,
        directory: Directory,
        gate: Gate,
        edge: Edge,
        certificates: Path,
        node_address: str,
        tell: Callable[[dict[str, str]], None],
    ) -> None:
        self._api, self._directory, self._gate, self._edge = api, directory, gate, edge
        self._node_address, self._tell = node_address, tell
        self._told: dict[str, str] = {}
        self._authority = Authority(certificates, "site-ca")
        self._shown: dict[tuple[str, ...], Pair] = {}
        self._ingresses: dict[Key, Object] = {}
        self._entrances: dict[tuple[str, str, str], Entrance] = {}
        self._addresses: dict[str, str] = {}  # by the UIDs of Services
        self._relays: dict[Endpoint, asyncio.Server] = {}
        self._ports = itertools.count(_FIRST_PORT)
        self._changed = asyncio.Event()

    @property
    def authority(self) -> Path:
        """Certificate that signed those of the Ingresses with HTTPS."""
        return self._authority.pair.certificate

    async def run(self) -> None:
        """Follow Ingresses, Services and endpoints for ever."""
        await self._api.apply(
            f"/apis/networking.k8s.io/v1/ingressclasses/{CLASS}",
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "IngressClass",
                "metadata": {"name": CLASS},
                "spec": {"controller": "ingress.k8s.aws/alb"},
            },
        )
        await asyncio.gather(self._follow(), self._pass_on(), self._reconcile())

    def url(self, namespace: str) -> str | None:
        """Where the first Ingress of a namespace is reached from the host; HTTPS if it has that."""
        urls = sorted(
            each.url for (space, *_), each in self._entrances.items() if space == namespace
        )
        return urls[-1] if urls else None

    def inside(self, namespace: str) -> str | None:
        """The same, as the node reaches it."""
        url = self.url(namespace)
        found = next((each for each in self._entrances.values() if each.url == url), None)
        if found is None:
            return None
        return f"{found.url.partition(':')[0]}://{EDGE_IP}:{found.listener_port}"

    def close(self) -> None:
        """Stop listening."""
        for server in self._relays.values():
            server.close()

    async def _follow(self) -> None:
        async for event, item in self._api.watch(_INGRESSES):
            if event == "SYNC":
                self._ingresses = {_key(each): each for each in item["items"]}
            elif event == "DELETED":
                self._ingresses.pop(_key(item), None)
            else:
                self._ingresses[_key(item)] = item
            self._changed.set()

    async def _pass_on(self) -> None:
        while True:
            await self._directory.change()
            self._changed.set()

    async def _reconcile(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._serve_ingresses()
                await self._serve_services()
            except (LabError, httpx.HTTPError):
                await asyncio.sleep(0.5)  # gone, or the API server is busy: no event tells when not
                self._changed.set()

    async def _serve_ingresses(self) -> None:
        listeners = []
        for key, ingress in sorted(self._ingresses.items()):
            if _class_of(ingress) != CLASS:
                continue
            routes = tuple(self._routes(ingress))
            entrances = []
            for protocol in _protocols(ingress):
                entrance = await self._entrance(key, protocol)
                entrances.append(entrance)
                tls = self._certificate(ingress) if protocol == "HTTPS" else None
                name = "-".join([*key, protocol.lower()])
                listeners.append(Listener(name, entrance.listener_port, routes, tls))
            await self._set_entrances(ingress, entrances)
        self._edge.show(listeners)
        namespaces = {namespace for namespace, _ in self._ingresses}
        sites = {each: url for each in sorted(namespaces) if (url := self.url(each))}
        if sites != self._told:
            self._told = sites
            self._tell(sites)

    async def _entrance(self, key: Key, protocol: str) -> Entrance:
        known = self._entrances.get((*key, protocol))
        if known:
            return known
        listening = await self._gate.listen(LOOPBACK)
        host_port = listening.getsockname()[1]
        made = Entrance(
            next(self._ports), host_port, f"{protocol.lower()}://{LOOPBACK}:{host_port}"
        )
        await self._relay(listening, (EDGE_IP, made.listener_port))
        self._entrances[(*key, protocol)] = made
        return made

    async def _set_entrances(self, ingress: Object, entrances: list[Entrance]) -> None:
        ports = [{"port": each.host_port, "protocol": "TCP"} for each in entrances]
        await self._set_status(_INGRESSES, ingress, [{"ip": LOOPBACK, "ports": ports}])

    async def _set_status(self, collection: str, item: Object, ingress: list[Object]) -> None:
        given = item.get("status", {}).get("loadBalancer", {}).get("ingress") or []
        if [each.get("ip") for each in given] == [each["ip"] for each in ingress]:
            return
        namespace, name = _key(item)
        root, _, plural = collection.rpartition("/")
        path = f"{root}/namespaces/{namespace}/{plural}/{name}/status"
        await self._api.merge(path, {"status": {"loadBalancer": {"ingress": ingress}}})

    def _routes(self, ingress: Object) -> Iterator[Route]:
        spec = ingress["spec"]
        if "defaultBackend" in spec:
            yield Route("*", "/", False, self._group(ingress, spec["defaultBackend"]["service"]))
        for rule in spec.get("rules") or []:
            for path in rule.get("http", {}).get("paths", []):
                yield Route(
                    rule.get("host") or "*",
                    path.get("path") or "/",
                    path["pathType"] == "Exact",
                    self._group(ingress, path["backend"]["service"]),
                )

    def _group(self, ingress: Object, backend: Object) -> Group:
        namespace, name = ingress["metadata"]["namespace"], backend["name"]
        service = self._directory.services.get((namespace, name), {"spec": {}})
        desired = backend["port"]
        names = {
            each.get("name", "")
            for each in service["spec"].get("ports", [])
            if desired in ({"name": each.get("name")}, {"number": each["port"]})
        }
        targets = {
            each.at for each in self._directory.targets(namespace, name) if each.port in names
        }
        port = desired.get("name") or desired.get("number")
        attributes = _attributes(ingress)
        sticky = attributes.get("stickiness.enabled") == "true"
        seconds = int(attributes.get("stickiness.lb_cookie.duration_seconds", 86400))
        return Group(
            f"{namespace}-{name}-{port}",
            tuple(sorted(targets)),
            _health(ingress),
            seconds if sticky else 0,
        )

    def _certificate(self, ingress: Object) -> Pair:
        hosts = {each["host"] for each in ingress["spec"].get("rules") or [] if each.get("host")}
        names = ("localhost", *sorted(hosts))
        if names not in self._shown:
            common = f"site-{len(self._shown)}"
            self._shown[names] = self._authority.issue(common, addresses=[LOOPBACK], names=names)
        return self._shown[names]

    async def _serve_services(self) -> None:
        self._give_up_addresses()
        for key, service in list(self._directory.services.items()):
            spec = service["spec"]
            if spec.get("type") == "NodePort":
                for port in spec["ports"]:
                    at = (self._node_address, port["nodePort"])
                    if port.get("protocol", "TCP") == "TCP" and at not in self._relays:
                        await self._try_relay(at, (NODE_IP, port["nodePort"]), key)
            elif spec.get("type") == "LoadBalancer" and spec.get("clusterIP"):
                await self._balance(key, service)

    def _give_up_addresses(self) -> None:
        """Stop listening for Services that are gone, made anew, or of another type by now."""
        balanced = {
            each["metadata"]["uid"]
            for each in self._directory.services.values()
            if each["spec"].get("type") == "LoadBalancer"
        }
        for uid in self._addresses.keys() - balanced:
            address = self._addresses.pop(uid)
            for at in [each for each in self._relays if each[0] == address]:
                self._relays.pop(at).close()

    async def _balance(self, key: Key, service: Object) -> None:
        spec, uid = service["spec"], service["metadata"]["uid"]
        ports = [each["port"] for each in spec["ports"] if each.get("protocol", "TCP") == "TCP"]
        for _ in range(_ATTEMPTS):
            address = self._addresses.setdefault(uid, free_address())
            missing = [port for port in ports if (address, port) not in self._relays]
            made = [
                await self._try_relay((address, p), (spec["clusterIP"], p), key) for p in missing
            ]
            if all(made):
                await self._set_status("/api/v1/services", service, [{"ip": address}])
                return
            if any(port < 1024 for port in ports):
                return  # an ordinary user may not have it, whatever the address
            del self._addresses[uid]

    async def _try_relay(self, at: Endpoint, target: Endpoint, key: Key) -> bool:
        try:
            await self._relay(await self._gate.listen(*at), target)
        except OSError as error:
            log.warning("Service %s/%s: %s", *key, error)
            return False
        return True

    async def _relay(self, listening: socket.socket, target: Endpoint) -> None:
        self._relays[listening.getsockname()] = await relay(listening, target)


def free_address() -> str:
    """A loopback address that is unlikely to be in use: there are sixteen million."""
    return f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(2, 254)}"


def _key(item: Object) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _annotation(ingress: Object, name: str, default: str = "") -> str:
    annotations = ingress["metadata"].get("annotations") or {}
    return str(annotations.get(f"{_ANNOTATION}/{name}", default))


def _class_of(ingress: Object) -> str | None:
    annotations = ingress["metadata"].get("annotations") or {}
    found = ingress["spec"].get("ingressClassName") or annotations.get(
        "kubernetes.io/ingress.class"
    )
    return str(found) if found else None


def _protocols(ingress: Object) -> list[str]:
    """HTTP, HTTPS or both, as `listen-ports` says."""
    text = _annotation(ingress, "listen-ports")
    default = "HTTPS" if _annotation(ingress, "certificate-arn") else "HTTP"
    return [name for each in json.loads(text) for name in each] if text else [default]


def _attributes(ingress: Object) -> dict[str, str]:
    text = _annotation(ingress, "target-group-attributes")
    return dict(each.split("=", 1) for each in text.split(",") if "=" in each)


def _health(ingress: Object) -> Health:
    codes = _annotation(ingress, "success-codes", "200")
    ranges = [each.partition("-") for each in codes.split(",")]
    return Health(
        path=_annotation(ingress, "healthcheck-path", "/"),
        statuses=tuple((int(first), int(last or first)) for first, _, last in ranges),
        interval=float(_annotation(ingress, "healthcheck-interval-seconds", "15")),
    )
