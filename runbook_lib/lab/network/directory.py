"""All Services and their endpoints, as the API server tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.network.relay import Endpoint

Object = dict[str, Any]

_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
_OWNER = "kubernetes.io/service-name"


@dataclass(frozen=True)
class Target:
    """One endpoint of a Service.

    Attributes:
        port: Its name in the Service.
        at: Where it is reached.
        hostname: The pod's name, for pods that have one of their own in DNS.
    """

    port: str
    at: Endpoint
    hostname: str = ""


class Directory:
    """Follows Services and EndpointSlices.

    Attributes:
        services: Every Service, by namespace and name.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self.services: dict[tuple[str, str], Object] = {}
        self._slices: dict[tuple[str, str], Object] = {}
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Follow for ever."""
        await asyncio.gather(
            self._follow("/api/v1/services", self.services), self._follow(_SLICES, self._slices)
        )

    async def change(self) -> None:
        """Wait until something may be different."""
        async with self._changed:
            await self._changed.wait()

    def targets(self, namespace: str, name: str) -> Iterator[Target]:
        """The ready endpoints of a Service, each of its ports apart."""
        for each in self._slices.values():
            meta = each["metadata"]
            owner = meta.get("labels", {}).get(_OWNER)
            if (meta["namespace"], owner) != (namespace, name):
                continue
            for endpoint in each.get("endpoints") or []:
                if endpoint.get("conditions", {}).get("ready") is False:
                    continue
                for address in endpoint["addresses"]:
                    for port in each.get("ports") or [{"port": 0}]:
                        at = (address, port.get("port") or 0)
                        yield Target(port.get("name") or "", at, endpoint.get("hostname") or "")

    async def _follow(self, path: str, known: dict[tuple[str, str], Object]) -> None:
        async for event, item in self._api.watch(path):
            if event == "SYNC":
                known.clear()
                known.update({_key(each): each for each in item["items"]})
            elif event == "DELETED":
                known.pop(_key(item), None)
            else:
                known[_key(item)] = item
            async with self._changed:
                self._changed.notify_all()


def _key(item: Object) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]
