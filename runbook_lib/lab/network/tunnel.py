"""The lab's network: how connections to pod addresses reach processes on loopback.

`Proxy` answers the API server's egress selector (HTTP CONNECT over a Unix socket), which asks
for a pod's address when it calls a webhook and for the node's when it asks the kubelet. Another
one, on loopback, answers programs that reach pods and Services through an HTTP proxy.
`Relay` is a Service's stable address in front of a pod that may come and go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

Endpoint = tuple[str, int]
Resolve = Callable[[str, int], Endpoint | None]
"""From a pod's (or the node's) address and port to where its process listens; None if nowhere."""

BUFFER = 1 << 16


class Proxy:
    """HTTP proxy that reaches what `resolve` knows and nothing else.

    It takes CONNECT, and plain requests with an absolute URL. Each of those gets a connection of
    its own, because the next one of the same client may be for another host.

    Args:
        at: A Unix socket, reachable by its owner only through the folder's mode, or an address.
    """

    def __init__(self, at: Path | Endpoint, resolve: Resolve) -> None:
        self._at = at
        self._resolve = resolve

    async def start(self) -> asyncio.Server:
        """Listen."""
        if isinstance(self._at, Path):
            self._at.unlink(missing_ok=True)
            return await asyncio.start_unix_server(self._serve, path=self._at)
        return await asyncio.start_server(self._serve, *self._at)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            wanted, greeting = _asked(head)
            target = self._resolve(*wanted)
            upstream = await asyncio.open_connection(*target) if target else None
        except (OSError, ValueError, IndexError, *_INCOMPLETE):
            upstream = None
        if upstream is None:
            writer.write(
                b"HTTP/1.1 502 No process listens there\r\n"
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"
            )
            await _close(writer)
            return
        if greeting:
            upstream[1].write(greeting.encode("latin-1"))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await _join((reader, writer), upstream)


_INCOMPLETE = (asyncio.IncompleteReadError, asyncio.LimitOverrunError)
_OF_THE_CONNECTION = ("connection:", "proxy-")


def _asked(head: str) -> tuple[Endpoint, str]:
    """The host and port that a request is for, and the head that goes there; '' for CONNECT."""
    request, *headers = head.removesuffix("\r\n\r\n").split("\r\n")
    method, url, version = request.split(" ", 2)
    if method == "CONNECT":
        host, _, port = url.rpartition(":")
        return (host.strip("[]"), int(port)), ""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"not an absolute http URL: {url}")
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    kept = [each for each in headers if not each.lower().startswith(_OF_THE_CONNECTION)]
    lines = [f"{method} {path} {version}", *kept, "Connection: close", "", ""]
    return (parts.hostname, parts.port or 80), "\r\n".join(lines)


class Relay:
    """Forwards a fixed loopback address to an endpoint that is looked up for each connection."""

    def __init__(self, listen: Endpoint, target: Callable[[], Endpoint | None]) -> None:
        self._listen = listen
        self._target = target

    async def start(self) -> asyncio.Server:
        """Listen."""
        return await asyncio.start_server(self._serve, *self._listen)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = self._target()
        try:
            if target is None:
                raise ConnectionRefusedError
            upstream = await asyncio.open_connection(*target)
        except OSError:
            # Reset, as a Service without endpoints refuses.
            writer.transport.abort()
            return
        await _join((reader, writer), upstream)


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(one: Stream, other: Stream) -> None:
    await asyncio.gather(_pump(one[0], other[1]), _pump(other[0], one[1]))
    for _, writer in (one, other):
        await _close(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end, then pass the end on; the other direction may still be open."""
    with suppress(OSError):
        while data := await reader.read(BUFFER):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.write_eof()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
