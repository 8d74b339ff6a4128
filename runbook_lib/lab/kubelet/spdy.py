"""SPDY/3.1 as the API server speaks it with kubelets: streams on one connection.

The protocol: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/. The API server's
implementation (github.com/moby/spdystream) has no flow control, so neither has this one.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable, Mapping

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_FIN = 0x01
_CANCEL = 5
_VERSION = 3

# The dictionary of SPDY 3: words with their lengths, then plain text.
_WORDS = (
    "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,"
    "accept-language,accept-ranges,age,allow,authorization,cache-control,connection,"
    "content-base,content-encoding,content-language,content-length,content-location,"
    "content-md5,content-range,content-type,date,etag,expect,expires,from,host,if-match,"
    "if-modified-since,if-none-match,if-range,if-unmodified-since,last-modified,location,"
    "max-forwards,pragma,proxy-authenticate,proxy-authorization,range,referer,retry-after,"
    "server,te,trailer,transfer-encoding,upgrade,user-agent,vary,via,warning,"
    "www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,public,set-cookie,"
    "keep-alive,origin"
)
_TEXT = (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203"
    b" Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 "
    b"Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service"
    b" UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, "
    b"Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    b"application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    b"charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack("!I", len(word)) + word.encode() for word in _WORDS.split(",")) + _TEXT
)


class Stream:
    """One stream, opened by the client.

    Attributes:
        headers: What the client says of it, by names in small letters.
        reader: What the client sends.
    """

    def __init__(self, connection: Connection, number: int, headers: Mapping[str, str]) -> None:
        self._connection, self._number = connection, number
        self.headers = headers
        self.reader = asyncio.StreamReader()
        self._ended = False

    async def send(self, data: bytes) -> None:
        """Send data, and wait while the client is slow."""
        if not self._ended:
            await self._connection.send_data(self._number, data)

    async def end(self) -> None:
        """Say that no more data comes."""
        if not self._ended:
            self._ended = True
            await self._connection.send_data(self._number, b"", _FIN)

    async def reset(self) -> None:
        """Break it off."""
        if not self._ended:
            self._ended = True
            await self._connection.send_control(
                _RST_STREAM, struct.pack("!II", self._number, _CANCEL)
            )


class Connection:
    """The server's side of a connection.

    Args:
        opened: Called with every stream that the client opens.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        opened: Callable[[Stream], None],
    ) -> None:
        self._reader, self._writer, self._opened = reader, writer, opened
        self._streams: dict[int, Stream] = {}
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    async def run(self) -> None:
        """Serve until the client goes."""
        try:
            while True:
                first, second = struct.unpack("!II", await self._reader.readexactly(8))
                flags, length = second >> 24, second & 0xFFFFFF
                payload = await self._reader.readexactly(length)
                if not first >> 31:
                    self._data(first, flags, payload)
                elif not await self._control(first & 0xFFFF, flags, payload):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for stream in self._streams.values():
                stream.reader.feed_eof()

    def _data(self, number: int, flags: int, payload: bytes) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        if payload:
            stream.reader.feed_data(payload)
        if flags & _FIN:
            stream.reader.feed_eof()

    async def _control(self, kind: int, flags: int, payload: bytes) -> bool:
        """Whether the connection goes on."""
        if kind == _SYN_STREAM:
            (number,) = struct.unpack_from("!I", payload)
            stream = Stream(self, number, self._headers(payload[10:]))
            self._streams[number] = stream
            none = self._deflate.compress(struct.pack("!I", 0))
            none += self._deflate.flush(zlib.Z_SYNC_FLUSH)
            await self.send_control(_SYN_REPLY, struct.pack("!I", number) + none)
            if flags & _FIN:
                stream.reader.feed_eof()
            self._opened(stream)
        elif kind == _RST_STREAM:
            stream_or_none = self._streams.get(struct.unpack_from("!I", payload)[0])
            if stream_or_none:
                stream_or_none.reader.feed_eof()
        elif kind == _PING:
            await self.send_control(_PING, payload)
        return kind != _GOAWAY

    def _headers(self, block: bytes) -> dict[str, str]:
        text, at = self._inflate.decompress(block), 4

        def word() -> str:
            nonlocal at
            (length,) = struct.unpack_from("!I", text, at)
            at += 4 + length
            return text[at - length : at].decode("latin-1")

        (count,) = struct.unpack_from("!I", text)
        return {word().lower(): word() for _ in range(count)}

    async def send_data(self, number: int, data: bytes, flags: int = 0) -> None:
        """Send a data frame.

        Raises:
            OSError: the client has gone.
        """
        await self._send(struct.pack("!II", number, flags << 24 | len(data)) + data)

    async def send_control(self, kind: int, payload: bytes) -> None:
        """Send a control frame.

        Raises:
            OSError: the client has gone.
        """
        await self._send(struct.pack("!HHI", 0x8000 | _VERSION, kind, len(payload)) + payload)

    async def _send(self, frame: bytes) -> None:
        if self._writer.is_closing():  # with TLS, asyncio fails on what is written then
            raise ConnectionResetError("the client has gone")
        self._writer.write(frame)
        await self._writer.drain()
