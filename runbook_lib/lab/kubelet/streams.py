"""Commands in containers and forwarded ports: what goes over SPDY streams.

The protocols `v4.channel.k8s.io` and `portforward.k8s.io` are those of Kubernetes,
k8s.io/cri-streaming/pkg/streaming.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import struct
import termios
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from runbook_lib.lab.foundation.https import Request
from runbook_lib.lab.foundation.process import DIE_WITH_PARENT, MARK, Launch
from runbook_lib.lab.kubelet.spdy import Connection, Stream
from runbook_lib.lab.network.sandbox import Sandbox

_VERSION = "x-stream-protocol-version"
_CHANNELS = "v4.channel.k8s.io"
_FORWARDING = "portforward.k8s.io"
_BUFFER = 1 << 15


def _accept(request: Request, protocol: str) -> None:
    request.writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        f"X-Stream-Protocol-Version: {protocol}\r\n\r\n".encode()
    )


async def execute(request: Request, command: Launch, mark: str) -> None:
    """Run a command, its streams being the client's."""
    channels = _Channels(request)
    _accept(request, _CHANNELS)
    connection = Connection(request.reader, request.writer, channels.opened)
    serving = asyncio.create_task(connection.run())
    running = asyncio.create_task(_run(channels, command, mark))
    await asyncio.wait({serving, running}, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()  # the client has gone
    with suppress(asyncio.CancelledError, OSError):
        await running
    serving.cancel()


class _Channels:
    """The streams of one command, by their types."""

    def __init__(self, request: Request) -> None:
        self.tty = request.first("tty") == "1"
        asked = {"stdin": "input", "stdout": "output", "stderr": "error"}
        self._expected = {name for name, key in asked.items() if request.first(key) == "1"}
        self._expected |= {"error"} | ({"resize"} if self.tty else set())
        if self.tty:
            self._expected -= {"stderr"}
        self._streams: dict[str, Stream] = {}
        self._complete = asyncio.Event()

    def opened(self, stream: Stream) -> None:
        """Take note of a stream."""
        self._streams[stream.headers["streamtype"]] = stream
        if self._expected <= self._streams.keys():
            self._complete.set()

    async def complete(self) -> None:
        """Wait until the client has opened all that it asked for."""
        await self._complete.wait()

    def get(self, kind: str) -> Stream | None:
        """The stream of that type, if the client asked for one."""
        return self._streams.get(kind)

    async def tell(self, status: object) -> None:
        """Say how the command has ended, as a Status."""
        await self._streams["error"].send(json.dumps(status).encode())
        for stream in self._streams.values():
            await stream.end()


async def _run(channels: _Channels, command: Launch, mark: str) -> None:
    await channels.complete()
    master, slave = os.openpty() if channels.tty else (-1, -1)
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *DIE_WITH_PARENT,
        *(["setsid", "--ctty"] if channels.tty else []),
        *command.argv,
        env=command.env | {MARK: mark} | ({"TERM": "xterm"} if channels.tty else {}),
        stdin=slave if channels.tty else pipe if channels.get("stdin") else 0,
        stdout=slave if channels.tty else pipe,
        stderr=slave if channels.tty else pipe,
        start_new_session=not channels.tty,
    )
    try:
        if channels.tty:
            os.close(slave)
            copying = await _terminal(channels, master)
        else:
            copying = _pipes(channels, child)
        code = await child.wait()
        await asyncio.wait(copying, timeout=1)  # what it started may keep its streams open
        await channels.tell(_status(code if code >= 0 else 128 - code))
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        if channels.tty:
            os.close(master)


def _pipes(channels: _Channels, child: asyncio.subprocess.Process) -> list[asyncio.Task[None]]:
    given = channels.get("stdin")
    if given and child.stdin:
        _background(_feed(given, child.stdin))
    outputs = (("stdout", child.stdout), ("stderr", child.stderr))
    return [
        asyncio.create_task(_copy(reader, channels.get(name))) for name, reader in outputs if reader
    ]


async def _terminal(channels: _Channels, master: int) -> list[asyncio.Task[None]]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(master), "rb", 0)
    )
    given, sizes = channels.get("stdin"), channels.get("resize")
    if given:
        _background(_type(given, master))
    if sizes:
        _background(_resize(sizes, master))
    return [asyncio.create_task(_copy(reader, channels.get("stdout")))]


_tasks: set[asyncio.Task[None]] = set()
"""The event loop itself keeps no task alive."""


def _background(coroutine: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _feed(stream: Stream, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await stream.reader.read(_BUFFER):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _type(stream: Stream, master: int) -> None:
    with suppress(OSError):
        while data := await stream.reader.read(_BUFFER):
            await asyncio.to_thread(os.write, master, data)


async def _resize(stream: Stream, master: int) -> None:
    with suppress(OSError, ValueError):
        while data := await stream.reader.read(_BUFFER):
            size = json.loads(data.splitlines()[-1])
            packed = struct.pack("HHHH", size["Height"], size["Width"], 0, 0)
            fcntl.ioctl(master, termios.TIOCSWINSZ, packed)


async def _copy(reader: asyncio.StreamReader, stream: Stream | None) -> None:
    with suppress(OSError):  # a terminal whose program has ended cannot be read
        while data := await reader.read(_BUFFER):
            if stream:
                await stream.send(data)


def _status(code: int) -> object:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def forward(request: Request, sandbox: Sandbox) -> None:
    """Connect the client's streams with ports of a pod, as its own processes reach them."""
    waiting: dict[str, Stream] = {}

    def opened(stream: Stream) -> None:
        number = stream.headers["requestid"]
        other = waiting.pop(number, None)
        if other is None:
            waiting[number] = stream
            return
        error, data = sorted((stream, other), key=lambda each: each.headers["streamtype"] == "data")
        _background(_forward(sandbox, int(data.headers["port"]), data, error))

    _accept(request, _FORWARDING)
    await Connection(request.reader, request.writer, opened).run()


async def _forward(sandbox: Sandbox, port: int, data: Stream, error: Stream) -> None:
    made = sandbox.socket()
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    except OSError as problem:
        made.close()
        with suppress(OSError):
            await error.send(f"nothing listens on port {port} of the pod: {problem}".encode())
            await error.end()
            await data.reset()
        return
    reader, writer = await asyncio.open_connection(sock=made)
    upload = asyncio.create_task(_upload(data, writer))
    await _copy(reader, data)
    with suppress(OSError):
        await data.end()
        await error.end()
    upload.cancel()
    writer.close()


async def _upload(stream: Stream, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await stream.reader.read(_BUFFER):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
