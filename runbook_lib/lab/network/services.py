"""Services on the host: names, relays to endpoints, and the stand-in for a cloud load balancer.

A cluster has DNS and kube-proxy; here a Service's name is resolved to a ready endpoint's process
for each connection. A relay is a loopback address that leads there on the Service's own port, for
programs that resolve names themselves. Services of type LoadBalancer get such an address as the
load balancer's: AWS is not here, so `status.loadBalancer` names one that answers on this machine.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import httpx

from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.ports import Addresses, choose_port
from runbook_lib.lab.network.tunnel import Endpoint, Relay, Resolve

Object = dict[str, Any]

_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
_SUFFIXES: tuple[list[str], ...] = ([], ["svc"], ["svc", "cluster", "local"])


class Services:
    """All Services of the lab.

    Args:
        exposed: Where the network reaches a port of a pod; None if no process is there.
    """

    def __init__(self, api: Api, exposed: Resolve, addresses: Addresses) -> None:
        self._api, self._exposed, self._addresses = api, exposed, addresses
        self._services: dict[str, Object] = {}
        self._slices: dict[str, Object] = {}
        self._relays: dict[tuple[str, int], tuple[Endpoint, asyncio.Server]] = {}
        self._hosts: dict[str, int] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow Services and their endpoints for ever."""
        await asyncio.gather(
            self._follow("/api/v1/services", self._services),
            self._follow(_SLICES, self._slices),
            self._balance(),
        )

    def close(self) -> None:
        """Stop all relays."""
        for _, server in self._relays.values():
            server.close()

    def resolve(self, host: str, port: int) -> Endpoint | None:
        """Where a pod's address or a Service's name is reached now; None if nothing is there."""
        return self._exposed(host, port) or self._service_endpoint(host, port)

    async def relay(self, host: str, port: int, *, exactly: bool = False) -> Endpoint:
        """A lasting address that leads to a Service, whether it exists already or not.

        Args:
            exactly: The port must be the Service's own, not another where that one is taken.
        """
        name = host.removesuffix(".").removesuffix(".svc.cluster.local").removesuffix(".svc")
        if (name, port) not in self._relays:
            number = self._hosts.setdefault(name, len(self._hosts) + 1)
            address = self._addresses.service(number)
            listen = (address, port if exactly else choose_port(address, port))
            server = await Relay(listen, lambda: self._service_endpoint(name, port)).start()
            self._relays[name, port] = (listen, server)
        return self._relays[name, port][0]

    def _service_endpoint(self, host: str, port: int) -> Endpoint | None:
        labels = host.removesuffix(".").split(".")
        if len(labels) < 2 or labels[2:] not in _SUFFIXES:
            return None
        service = self._services.get(f"{labels[1]}/{labels[0]}")
        if service is None:
            return None
        names = {each.get("name", "") for each in service["spec"]["ports"] if each["port"] == port}
        return next(self._endpoints(service, names), None)

    def _endpoints(self, service: Object, names: set[str]) -> Iterator[Endpoint]:
        meta = service["metadata"]
        for each in self._slices.values():
            labels = each["metadata"].get("labels", {})
            if (each["metadata"]["namespace"], labels.get("kubernetes.io/service-name")) != (
                meta["namespace"],
                meta["name"],
            ):
                continue
            for target in each.get("endpoints") or []:
                if not target.get("conditions", {}).get("ready"):
                    continue
                for port in each.get("ports") or []:
                    if port.get("name", "") in names:
                        found = self._exposed(target["addresses"][0], port["port"])
                        if found:
                            yield found

    async def _follow(self, path: str, known: dict[str, Object]) -> None:
        async for event, item in self._api.watch(path):
            if event == "SYNC":
                known.clear()
                known.update({_key(each): each for each in item["items"]})
            elif event == "DELETED":
                known.pop(_key(item), None)
            else:
                known[_key(item)] = item
            self._changed.set()

    async def _balance(self) -> None:
        """Give each LoadBalancer whose endpoints are processes an address that answers."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                for key, service in list(self._services.items()):
                    if service["spec"].get("type") == "LoadBalancer":
                        await self._serve_outside(key, service)
            except (LabError, httpx.HTTPError):
                await asyncio.sleep(0.5)  # gone, or the API server is busy: no event tells when not
                self._changed.set()

    async def _serve_outside(self, key: str, service: Object) -> None:
        namespace, name = key.split("/")
        host = f"{name}.{namespace}"
        ports = [each["port"] for each in service["spec"]["ports"]]
        if not any(self._service_endpoint(host, port) for port in ports):
            return
        try:
            for port in ports:
                address, _ = await self.relay(host, port, exactly=True)
        except OSError as error:
            print(f"load balancer of {key}: {error}", file=sys.stderr, flush=True)
            return
        given = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
        if [each.get("ip") for each in given] != [address]:
            path = f"/api/v1/namespaces/{namespace}/services/{name}/status"
            status = {"loadBalancer": {"ingress": [{"ip": address}]}}
            await self._api.merge(path, {"status": status})


def _key(item: Object) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
