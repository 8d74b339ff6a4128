"""The lab's network: how connections to pod addresses reach processes on loopback.

`Tunnel` answers the API server's egress selector (HTTP CONNECT over a Unix socket), which asks
for a pod's address when it calls a webhook and for the node's when it asks the kubelet.
`Relay` is a Service's stable address in front of a pod that may come and go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Endpoint = tuple[str, int]
Resolve = Callable[[str, int], Endpoint | None]
"""From a pod's (or the node's) address and port to where its process listens; None if nowhere."""

BUFFER = 1 << 16


class Tunnel:
    """HTTP CONNECT proxy on a Unix socket."""

    def __init__(self, socket: Path, resolve: Resolve) -> None:
        self._socket = socket
        self._resolve = resolve

    async def start(self) -> asyncio.Server:
        """Listen; the socket is reachable by its owner only, through the folder's mode."""
        self._socket.unlink(missing_ok=True)
        return await asyncio.start_unix_server(self._serve, path=self._socket)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            host, _, port = head.split(" ", 2)[1].rpartition(":")
            target = self._resolve(host.strip("[]"), int(port))
            upstream = await asyncio.open_connection(*target) if target else None
        except (OSError, ValueError, IndexError, asyncio.IncompleteReadError):
            upstream = None
        if upstream is None:
            writer.write(b"HTTP/1.1 502 No process listens there\r\n\r\n")
            await _close(writer)
            return
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await _join((reader, writer), upstream)


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
