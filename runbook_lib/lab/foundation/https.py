"""A small HTTPS server for the API server as the only client, which proves itself by certificate.

It hands out whole connections where a request asks to go on in another protocol, as kubelets do
for `kubectl exec`; servers of the libraries at hand keep those to themselves.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from runbook_lib.lab.foundation.certificates import Pair
from runbook_lib.lab.foundation.streams import start_server


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        query: Values by name, in their order.
        headers: By their names in small letters, in their order.
        reader: The rest of the connection, for whoever takes it over.
        writer: The same.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, list[str]]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def first(self, name: str, default: str = "") -> str:
        """The first value of that name in the query."""
        return self.query.get(name, [default])[0]


@dataclass(frozen=True)
class Response:
    """An answer with a body."""

    status: int
    body: bytes
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, body: object) -> Response:
        """An answer in JSON."""
        return cls(status, json.dumps(body).encode(), "application/json")

    def packed(self) -> bytes:
        """As it goes over the wire."""
        headers = {
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} ", *(f"{name}: {it}" for name, it in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


Handler = Callable[[Request], Awaitable[Response | None]]
"""Answers a request; None if it has taken the connection over, which ends when it returns."""


async def serve(
    handler: Handler, address: str, port: int, *, serving: Pair, clients: Path
) -> asyncio.Server:
    """Listen.

    Args:
        handler: Called for every request; requests with a body are for it to read.
        address: Where to listen.
        port: Where to listen.
        serving: The server's certificate.
        clients: The authority of its clients' certificates.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(serving.certificate, serving.key)
    tls.load_verify_locations(clients)
    tls.verify_mode = ssl.CERT_REQUIRED

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, asyncio.IncompleteReadError):
            while response := await handler(await _request(reader, writer)):
                writer.write(response.packed())
                await writer.drain()
        writer.close()

    return await start_server(connected, address, port, ssl=tls)


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = line.split(" ", 2)
    headers: dict[str, list[str]] = {}
    for each in fields:
        name, _, value = each.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    return Request(method, unquote(parts.path), query, headers, reader, writer)
