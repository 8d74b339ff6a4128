"""SPDY streams, as a client of the API server's kind opens them."""

from __future__ import annotations

import asyncio
import struct
import zlib

from runbook_lib.lab.kubelet.spdy import DICTIONARY, Connection, Stream

FIN = 0x01


class Client:
    """Packs and reads frames the other way round."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def syn(self, number: int, **headers: str) -> bytes:
        block = struct.pack("!I", len(headers))
        for name, value in headers.items():
            block += struct.pack("!I", len(name)) + name.encode()
            block += struct.pack("!I", len(value)) + value.encode()
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return self.control(1, struct.pack("!IIH", number, 0, 0) + packed)

    @staticmethod
    def control(kind: int, payload: bytes) -> bytes:
        return struct.pack("!HHI", 0x8003, kind, len(payload)) + payload

    @staticmethod
    def data(number: int, payload: bytes, flags: int = 0) -> bytes:
        return struct.pack("!II", number, flags << 24 | len(payload)) + payload


def exchange(sent: bytes) -> tuple[list[tuple[int, int, int, bytes]], list[Stream]]:
    """The frames that the server sends, as (kind or 0, number, flags, payload); its streams."""

    async def scenario() -> tuple[bytes, list[Stream]]:
        streams: list[Stream] = []
        done = asyncio.Event()

        async def echo(stream: Stream) -> None:
            await stream.send(await stream.reader.read())
            await stream.end()
            done.set()

        tasks = set()

        def opened(stream: Stream) -> None:
            streams.append(stream)
            tasks.add(asyncio.create_task(echo(stream)))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await Connection(reader, writer, opened).run()
            await asyncio.gather(*tasks)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        received = await reader.read()
        writer.close()
        server.close()
        return received, streams

    received, streams = asyncio.run(scenario())
    frames = []
    while received:
        first, second = struct.unpack_from("!II", received)
        flags, length = second >> 24, second & 0xFFFFFF
        payload, received = received[8 : 8 + length], received[8 + length :]
        control = first >> 31
        number = struct.unpack_from("!I", payload)[0] if control else first
        frames.append((first & 0xFFFF if control else 0, number, flags, payload))
    return frames, streams


def test_streams_have_headers_carry_data_both_ways_and_end() -> None:
    client = Client()
    opening = client.syn(1, streamType="data", port="8080") + client.syn(3, streamtype="error")
    frames, streams = exchange(
        opening + client.data(1, b"hel") + client.data(1, b"lo", FIN) + client.data(3, b"", FIN)
    )
    assert [each.headers for each in streams] == [
        {"streamtype": "data", "port": "8080"},
        {"streamtype": "error"},
    ]
    assert [(kind, number) for kind, number, _, _ in frames if kind == 2] == [(2, 1), (2, 3)]
    assert (0, 1, 0, b"hello") in frames
    assert {(number, flags) for kind, number, flags, _ in frames if not kind and flags} == {
        (1, FIN),
        (3, FIN),
    }


def test_a_ping_is_answered_with_itself() -> None:
    ping = struct.pack("!I", 7)
    frames, _ = exchange(Client.control(6, ping))
    assert frames == [(6, 7, 0, ping)]


def test_after_going_away_nothing_is_read() -> None:
    client = Client()
    frames, streams = exchange(client.control(7, struct.pack("!II", 0, 0)) + client.syn(1))
    assert (frames, streams) == ([], [])
