"""Relays: from a socket on the host to an address in the lab."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from runbook_lib.lab.foundation.streams import Stream, start_server

Endpoint = tuple[str, int]

_BUFFER = 1 << 16


async def relay(listening: socket.socket, target: Endpoint) -> asyncio.Server:
    """Forward every connection to the target; one that is refused there is reset here."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other = await asyncio.open_connection(*target)
        except OSError:
            writer.transport.abort()
            return
        await _join((reader, writer), other)

    return await start_server(serve, sock=listening)


async def _join(one: Stream, other: Stream) -> None:
    """Copy both ways until both have ended."""
    try:
        await asyncio.gather(_pump(one[0], other[1]), _pump(other[0], one[1]))
    finally:
        for _, writer in (one, other):
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end, then pass the end on; the other direction may still be open."""
    try:
        while data := await reader.read(_BUFFER):
            writer.write(data)
            await writer.drain()
    except OSError:
        writer.transport.abort()  # a reset is passed on as one
        return
    with suppress(OSError, RuntimeError):
        writer.write_eof()
