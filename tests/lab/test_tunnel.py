"""The lab's proxy reaches what the lab knows, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from runbook_lib.lab.foundation.ports import Addresses
from runbook_lib.lab.network.services import Services
from runbook_lib.lab.network.tunnel import Endpoint, Proxy

POD = "10.244.1.7"


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that answers with the head it was sent."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head)
    await writer.drain()
    writer.close()


def _through_proxy(request: bytes) -> str:
    """The answer to a request, where only port 80 of one pod is reachable."""

    async def run() -> str:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        backend: Endpoint = server.sockets[0].getsockname()[:2]
        proxy = await Proxy(
            ("127.0.0.1", 0), lambda host, port: backend if (host, port) == (POD, 80) else None
        ).start()
        reader, writer = await asyncio.open_connection(*proxy.sockets[0].getsockname()[:2])
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        # Both ends of every connection are served by tasks of their own.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=10)
        for each in (server, proxy):
            each.close()
        return answer.decode()

    return asyncio.run(run())


def test_a_plain_request_arrives_in_origin_form() -> None:
    """The proxy's own headers are taken out, and the connection is for this request alone."""
    answer = _through_proxy(
        f"GET http://{POD}/metrics?a=b HTTP/1.1\r\nHost: {POD}\r\nProxy-Connection: keep-alive\r\n"
        "Accept: text/plain\r\n\r\n".encode()
    )
    _, _, head = answer.partition("\r\n\r\n")
    assert head == (
        f"GET /metrics?a=b HTTP/1.1\r\nHost: {POD}\r\nAccept: text/plain\r\n"
        "Connection: close\r\n\r\n"
    )


def test_connect_is_a_tunnel() -> None:
    answer = _through_proxy(f"CONNECT {POD}:80 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith("HTTP/1.1 200")
    assert answer.endswith("GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://127.0.0.1/ HTTP/1.1",
        "GET http://example.invalid/ HTTP/1.1",
        f"GET http://{POD}:81/ HTTP/1.1",
        f"GET https://{POD}:80/ HTTP/1.1",
        f"CONNECT {POD}:22 HTTP/1.1",
        "CONNECT 127.0.0.1:80 HTTP/1.1",
        "GET / HTTP/1.1",
        "nonsense",
    ],
)
def test_everything_else_is_refused(request_line: str) -> None:
    assert _through_proxy(f"{request_line}\r\n\r\n".encode()).startswith("HTTP/1.1 502")


def _services(*, ready: bool = True) -> Services:
    """One Service, `web.shop`, whose port 80 leads to port 8080 of one pod."""

    class Cluster:
        async def watch(self, path: str) -> Any:
            kind = path.rsplit("/", 1)[1]
            yield "SYNC", {"items": [objects[kind]]}
            await asyncio.Event().wait()

    objects = {
        "services": {
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        },
        "endpointslices": {
            "metadata": {
                "namespace": "shop",
                "name": "web-x",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [POD], "conditions": {"ready": ready}}],
        },
    }
    exposed: Callable[[str, int], Endpoint | None] = lambda ip, port: (  # noqa: E731
        ("127.40.1.7", 8080) if (ip, port) == (POD, 8080) else None
    )

    async def run() -> Services:
        services = Services(Cluster(), exposed, Addresses(40))  # type: ignore[arg-type]
        following = asyncio.create_task(services.run())
        for _ in range(100):  # turns of the loop, until both watches have been read
            await asyncio.sleep(0)
        following.cancel()
        return services

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["web.shop", "web.shop.svc", "web.shop.svc.cluster.local"])
def test_a_service_is_known_by_its_names(name: str) -> None:
    assert _services().resolve(name, 80) == ("127.40.1.7", 8080)


@pytest.mark.parametrize(
    ("name", "port"),
    [("web", 80), ("web.other", 80), ("web.shop", 8080), ("web.shop.example.com", 80)],
)
def test_other_names_and_ports_lead_nowhere(name: str, port: int) -> None:
    assert _services().resolve(name, port) is None


def test_a_service_without_ready_endpoints_leads_nowhere() -> None:
    assert _services(ready=False).resolve("web.shop", 80) is None


def test_a_pods_address_leads_to_its_process() -> None:
    assert _services().resolve(POD, 8080) == ("127.40.1.7", 8080)
