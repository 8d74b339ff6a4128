"""A SOCKS5 proxy on loopback, as `ssh -D` opens one: RFC 1928, without a login."""

from __future__ import annotations

import contextlib
import selectors
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator

_NAME, _IPV4 = 3, 1
_ACCEPTED = bytes([5, 0, 0, _IPV4]) + bytes(6)


class Proxy(socketserver.ThreadingTCPServer):
    """Leads each connection to where it asks for; a name is always this machine.

    Attributes:
        asked: Where connections were led, such as `api.example.com:6443`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Connection)

    @property
    def url(self) -> str:
        """The proxy's address in a kubeconfig."""
        return f"socks5://127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        _, methods = self.rfile.read(2)
        self.rfile.read(methods)
        self.wfile.write(bytes([5, 0]))
        *_, kind = self.rfile.read(4)
        size = self.rfile.read(1)[0] if kind == _NAME else 4
        raw = self.rfile.read(size)
        (port,) = struct.unpack("!H", self.rfile.read(2))
        name = raw.decode() if kind == _NAME else socket.inet_ntoa(raw)
        self.server.asked.append(f"{name}:{port}")
        address = "127.0.0.1" if kind == _NAME else name
        with socket.create_connection((address, port), 5) as other:
            self.wfile.write(_ACCEPTED)
            with contextlib.suppress(OSError):
                _relay(self.connection, other)


def _relay(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select(30):
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(65536)
                if not data:
                    return
                key.data.sendall(data)


@contextlib.contextmanager
def proxy() -> Iterator[Proxy]:
    """A proxy that is there while it is entered."""
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
