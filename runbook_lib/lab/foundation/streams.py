"""A server of asyncio's streams whose connections live until they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def start_server(serve: Serve, *at: Any, **options: Any) -> asyncio.Server:
    """As `asyncio.start_server`, which before Python 3.12 keeps no connection's task alive.

    One that waits for nothing but itself, as a relay does, could be collected as garbage.
    """
    running: set[asyncio.Task[None] | None] = set()

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        running.add(task)
        try:
            await serve(reader, writer)
        finally:
            running.discard(task)

    return await asyncio.start_server(kept, *at, **options)
