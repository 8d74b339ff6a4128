"""Each kind of probe asks what a kubelet asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from runbook_lib.lab.workloads.pods import Container
from runbook_lib.lab.workloads.probes import probe

LOOPBACK = "127.0.0.1"


def passes(spec: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> bool:
    """Whether a probe passes in a container that knows the commands `true` and `false`."""
    container = Container({"name": "c", "readinessProbe": spec, "ports": ports or []}, init=False)

    async def run(argv: list[str]) -> int:
        if argv == ["sleep"]:
            await asyncio.sleep(60)
        return int(argv != ["true"])

    async def ask() -> bool:
        found = probe(container, "readinessProbe")
        assert found is not None
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            return await found.passes(LOOPBACK, client, run)

    async def scenario() -> bool:
        async with answering() as port:
            for handler in ("httpGet", "tcpSocket", "grpc"):
                if spec.get(handler, {}).get("port") == "here":
                    spec[handler]["port"] = port
            for each in ports or []:
                each["containerPort"] = port
            return await ask()

    return asyncio.run(scenario())


@asynccontextmanager
async def answering() -> AsyncIterator[int]:
    """A server that speaks HTTP/1.1 and HTTP/2, with gRPC's health service."""

    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        data = await reader.read(1 << 16)
        if data.startswith(b"GET"):
            status = "302 Found" if b"X-Probe: yes" in data else "404 Not Found"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        elif data:
            await health(data, reader, writer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*filter(None, connections))


async def health(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Service `good` serves, others do not."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    asked = b""
    while data:
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                asked += event.data
            if isinstance(event, h2.events.StreamEnded):
                connection.send_headers(
                    event.stream_id, [(":status", "200"), ("content-type", "application/grpc")]
                )
                status = b"\x01" if b"good" in asked else b"\x02"
                connection.send_data(event.stream_id, b"\0\0\0\0\x02\x08" + status)
                connection.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
        writer.write(connection.data_to_send())
        await writer.drain()
        data = await reader.read(1 << 16)


def test_http_takes_redirections_for_good_and_sends_its_headers() -> None:
    headers = [{"name": "X-Probe", "value": "yes"}]
    assert passes({"httpGet": {"port": "here", "httpHeaders": headers}})
    assert not passes({"httpGet": {"port": "here", "path": "/gone"}})


def test_a_named_port_is_looked_up() -> None:
    assert passes({"tcpSocket": {"port": "web"}}, [{"name": "web", "containerPort": 0}])


def test_tcp_asks_whether_somebody_listens() -> None:
    assert passes({"tcpSocket": {"port": "here"}})
    assert not passes({"tcpSocket": {"port": 1}})


def test_grpc_asks_the_health_service() -> None:
    assert passes({"grpc": {"port": "here", "service": "good"}})
    assert not passes({"grpc": {"port": "here"}})
    assert not passes({"grpc": {"port": 1}})


@pytest.mark.parametrize(("command", "expected"), [("true", True), ("false", False)])
def test_a_command_tells_by_its_exit_code(command: str, expected: bool) -> None:
    assert passes({"exec": {"command": [command]}}) is expected


def test_a_probe_that_takes_too_long_has_failed() -> None:
    assert not passes({"exec": {"command": ["sleep"]}, "timeoutSeconds": 0.1})
