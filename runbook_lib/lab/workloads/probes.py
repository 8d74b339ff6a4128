"""A container's probes, as a kubelet plays them: HTTP, TCP, gRPC and exec."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from runbook_lib.lab.workloads.pods import Container

Object = dict[str, Any]

Command = Callable[[list[str]], Awaitable[int]]
"""Runs a command in the container; returns its exit code."""


@dataclass(frozen=True)
class Probe:
    """One probe.

    Attributes:
        spec: As the container's spec has it.
        ports: The container's ports by their names.
        delay: Seconds before the first check.
        period: Seconds between checks.
        timeout: Seconds that one check may take.
        failures: Failures in a row that count.
    """

    spec: Object
    ports: Mapping[str, int]
    delay: float
    period: float
    timeout: float
    failures: int

    async def passes(self, address: str, client: httpx.AsyncClient, run: Command) -> bool:
        """Check once.

        Args:
            address: The pod's.
            client: For probes over HTTP; it must not verify certificates.
            run: For probes by a command.
        """
        try:
            async with asyncio.timeout(self.timeout):
                return await self._check(address, client, run)
        except (OSError, httpx.HTTPError):  # a time-out is an OSError
            return False

    async def _check(self, address: str, client: httpx.AsyncClient, run: Command) -> bool:
        if "httpGet" in self.spec:
            return await self._http(self.spec["httpGet"], address, client)
        if "tcpSocket" in self.spec:
            port = self._port(self.spec["tcpSocket"])
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
            return True
        if "grpc" in self.spec:
            return await _serving(f"{address}:{self._port(self.spec['grpc'])}", self.spec["grpc"])
        return await run(self.spec["exec"]["command"]) == 0

    async def _http(self, request: Object, address: str, client: httpx.AsyncClient) -> bool:
        scheme = request.get("scheme", "HTTP").lower()
        host = f"{request.get('host') or address}:{self._port(request)}"
        headers = {each["name"]: each["value"] for each in request.get("httpHeaders", [])}
        answer = await client.get(f"{scheme}://{host}{request.get('path', '/')}", headers=headers)
        return 200 <= answer.status_code < 400

    def _port(self, handler: Object) -> int:
        port = handler["port"]
        return port if isinstance(port, int) else self.ports[port]


def probe(container: Container, name: str) -> Probe | None:
    """The container's `startupProbe`, `readinessProbe` or `livenessProbe`, if it has one."""
    spec = container.spec.get(name)
    if not spec:
        return None
    ports = {
        each["name"]: each["containerPort"]
        for each in container.spec.get("ports", [])
        if "name" in each
    }
    return Probe(
        spec=spec,
        ports=ports,
        delay=float(spec.get("initialDelaySeconds", 0)),
        period=float(spec.get("periodSeconds", 10)),
        timeout=float(spec.get("timeoutSeconds", 1)),
        failures=int(spec.get("failureThreshold", 3)),
    )


async def _serving(at: str, handler: Object) -> bool:
    """Ask grpc.health.v1.Health/Check: HTTP/2 without TLS, one message each way.

    The messages are small enough to be written by hand: field 1 is the name of the service in the
    request, and the status in the answer, of which 1 means that it serves.
    """
    name = (handler.get("service") or "").encode()
    message = b"\x0a" + bytes([len(name)]) + name if name else b""
    headers = {"Content-Type": "application/grpc", "TE": "trailers"}
    async with httpx.AsyncClient(http1=False, http2=True, trust_env=False) as client:
        answer = await client.post(
            f"http://{at}/grpc.health.v1.Health/Check",
            content=struct.pack("!BI", 0, len(message)) + message,
            headers=headers,
        )
    return answer.status_code == 200 and answer.content[5:] == b"\x08\x01"
