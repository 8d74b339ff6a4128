"""Container logs as `kubectl logs` asks for them. The files have container runtimes' format."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from runbook_lib.lab.foundation.https import Request

_LOOK_AGAIN = 0.2
"""Seconds between looks at a log that is followed: files tell nobody of their growth for free."""


async def send(request: Request, path: Path, *, running: asyncio.Event | None) -> None:
    """Answer with a log, and end the connection.

    Args:
        request: With the query of the API server's `log` subresource.
        path: The log.
        running: Set when the container has ended, for `--follow`.
    """
    writer = request.writer
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")
    with path.open("rb") as file:
        lines = list(_chosen(request, file.readlines()))
        tail = request.first("tailLines")
        for line in lines[len(lines) - min(int(tail), len(lines)) :] if tail else lines:
            writer.write(line)
        await writer.drain()
        while request.first("follow") == "true" and not writer.is_closing():
            over = running is None or running.is_set()
            new = file.readlines()
            for line in _chosen(request, new):
                writer.write(line)
            await writer.drain()
            if over:
                break
            if not new:
                await asyncio.sleep(_LOOK_AGAIN)


def _chosen(request: Request, lines: list[bytes]) -> Iterator[bytes]:
    """The lines without the runtime's marks, those alone that are young enough."""
    since = _since(request)
    stamped = request.first("timestamps") == "true"
    for line in lines:
        stamp, _, rest = line.partition(b" ")
        text = rest.split(b" ", 2)[2]
        if since is None or dt.datetime.fromisoformat(stamp.decode()) >= since:
            yield stamp + b" " + text if stamped else text


def _since(request: Request) -> dt.datetime | None:
    if seconds := request.first("sinceSeconds"):
        return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=int(seconds))
    if moment := request.first("sinceTime"):
        return dt.datetime.fromisoformat(moment)
    return None
