"""A proxy in front of an API server that spoils requests and answers by rule.

It ends TLS with a certificate of its own, so users are not known to the server by theirs: whoever
asks through it is the lab's administrator.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import ipaddress
import re
import select
import socket
import socketserver
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Request:
    """A request as it arrives.

    Attributes:
        method: Such as `PATCH`.
        path: With its query.
        token: The bearer token; empty without one.
    """

    method: str
    path: str
    token: str


Where = Callable[[Request], bool]
"""Says of a request whether it is meant."""


class Cut(Enum):
    """Where a connection is cut."""

    BEFORE = auto()
    """The server never sees the request."""
    AFTER = auto()
    """The server carries the request out, and nobody hears of it."""
    MIDDLE = auto()
    """Half of the answer arrives."""


@dataclass
class Fault:
    """What becomes of the requests that it is for.

    Attributes:
        where: Says of a request whether it is meant.
        times: How many more requests it hits.
        status: An answer in place of the server's.
        retry_after: Seconds to wait, in that answer.
        cut: Where the connection is cut.
        seconds: How long an answer takes.
        date: What the answer says the time is.
        hits: The requests that it hit.
    """

    where: Where = lambda _request: True
    times: float = 1
    status: int = 0
    retry_after: int | None = None
    cut: Cut | None = None
    seconds: float = 0
    date: str = ""
    hits: list[Request] = field(default_factory=list)


class Proxy(socketserver.ThreadingTCPServer):
    """Leads requests to an API server, and spoils those that a fault is for.

    Attributes:
        faults: The first one that fits a request, and is not used up, is taken.
        asked: All requests.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, server: str, upstream: ssl.SSLContext, own: ssl.SSLContext) -> None:
        parts = urlsplit(server)
        self.address, self.upstream, self.own = (parts.hostname, parts.port), upstream, own
        self.faults: list[Fault] = []
        self.asked: list[Request] = []
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Connection)

    def fault_of(self, request: Request) -> Fault:
        """Take the fault for a request; one that does nothing if there is none."""
        with self._lock:
            self.asked.append(request)
            found = next((f for f in self.faults if f.times > 0 and f.where(request)), Fault())
            found.times -= 1
            found.hits.append(request)
            return found

    @contextlib.contextmanager
    def spoilt(self, **fault: Any) -> Iterator[Fault]:
        """Have a fault within the block, and none after it."""
        found = Fault(**fault)
        self.faults.append(found)
        try:
            yield found
        finally:
            self.faults.remove(found)


class _Connection(socketserver.BaseRequestHandler):
    """One request: the connection is closed after its answer."""

    server: Proxy

    def handle(self) -> None:
        with (
            contextlib.suppress(OSError),
            self.server.own.wrap_socket(self.request, server_side=True) as client,
        ):
            head, body = _read(client)
            if head:
                self._answer(client, head, body)

    def _answer(self, client: ssl.SSLSocket, head: str, body: bytes) -> None:
        method, path, _ = head.split(" ", 2)
        token = re.search(r"\r\nauthorization: bearer ([^\r]*)\r\n", head, re.IGNORECASE)
        fault = self.server.fault_of(Request(method, path, token[1] if token else ""))
        time.sleep(fault.seconds)
        if fault.cut is Cut.BEFORE:
            _reset(client)
            return
        if fault.status:
            client.sendall(_refusal(fault))
            return
        head = re.sub(r"\r\nauthorization: [^\r]*", "", head, flags=re.IGNORECASE)
        upgraded = bool(re.search(r"\r\nupgrade: ", head, re.IGNORECASE))
        if not upgraded:
            head = re.sub(r"\r\nconnection: [^\r]*", "", head, flags=re.IGNORECASE)
            head = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        with (
            socket.create_connection(self.server.address, 10) as raw,
            self.server.upstream.wrap_socket(raw, server_hostname=self.server.address[0]) as other,
        ):
            other.settimeout(None)
            other.sendall(head.encode() + body)
            if upgraded:
                _both_ways(client, other)
            else:
                self._give_back(client, other, fault)

    @staticmethod
    def _give_back(client: ssl.SSLSocket, other: ssl.SSLSocket, fault: Fault) -> None:
        if fault.cut is None and not fault.date:
            _pass_on(other, client)
            return
        first = other.recv(65536)
        if fault.date:
            said = f"\r\nDate: {fault.date}\r\n".encode()
            client.sendall(re.sub(rb"\r\nDate: [^\r]*\r\n", said, first))
            _pass_on(other, client)
        elif fault.cut is Cut.MIDDLE:
            start = first.index(b"\r\n\r\n") + 4
            client.sendall(first[: start + (len(first) - start) // 2])
            _reset(client)
        else:
            _reset(client)


def _read(client: ssl.SSLSocket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            return "", b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += client.recv(65536)
    return head.decode("latin-1") + "\r\n\r\n", body


def _refusal(fault: Fault) -> bytes:
    wait = "" if fault.retry_after is None else f"Retry-After: {fault.retry_after}\r\n"
    text = b'{"kind":"Status","status":"Failure","message":"spoilt on the way"}'
    head = (
        f"HTTP/1.1 {fault.status} Spoilt\r\nContent-Type: application/json\r\n{wait}"
        f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + text


def _reset(client: ssl.SSLSocket) -> None:
    """Close at once, as a machine does that goes down."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def _pass_on(source: ssl.SSLSocket, goal: ssl.SSLSocket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            goal.sendall(data)


def _both_ways(one: ssl.SSLSocket, other: ssl.SSLSocket) -> None:
    """Pass on what comes from either side: in one thread, because TLS takes no two at once."""
    goals = {one: other, other: one}
    while True:
        ready = [each for each in goals if each.pending()] or select.select([*goals], [], [])[0]
        for source in ready:
            source.setblocking(False)
            try:
                data = source.recv(65536)
            except ssl.SSLWantReadError:  # no data, but a record of TLS itself
                continue
            finally:
                source.setblocking(True)
            if not data:
                return
            goals[source].sendall(data)


@contextlib.contextmanager
def proxy(kubeconfig: Path, folder: Path) -> Iterator[tuple[Proxy, Path]]:
    """A proxy before the API server of a kubeconfig, and a kubeconfig that leads to it.

    Args:
        kubeconfig: One context, whose user has a certificate.
        folder: Where the kubeconfig is written.
    """
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    upstream = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
    with tempfile.NamedTemporaryFile(mode="w") as pair:
        pair.write(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
        pair.flush()
        upstream.load_cert_chain(pair.name)
    certificate, own = _certificate()
    with Proxy(cluster["server"], upstream, own) as server:
        url = f"https://127.0.0.1:{server.server_address[1]}"
        authority = base64.b64encode(certificate).decode()
        config["clusters"][0]["cluster"] = {"server": url, "certificate-authority-data": authority}
        config["users"][0]["user"] = {}
        path = folder / "kubeconfig"
        path.touch(0o600)
        path.write_text(yaml.safe_dump(config))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server, path
        finally:
            server.shutdown()
            thread.join()


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


@contextlib.contextmanager
def dated(now: datetime, *, valid_until: datetime, folder: Path) -> Iterator[Path]:
    """A server that does nothing but say what time it is.

    Args:
        now: The time.
        valid_until: The end of its certificate.
        folder: Where a kubeconfig that leads to it is written, with a context `c`.
    """
    certificate, own = _certificate(valid_until)

    class Dated(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def date_time_string(self, _timestamp: float | None = None) -> str:
            return format_datetime(now, usegmt=True)

        def log_message(self, *_words: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_request: object) -> None:
            """A client that turns away is what is meant to happen."""

    with Server(("127.0.0.1", 0), Dated) as server:
        server.socket = own.wrap_socket(server.socket, server_side=True)
        cluster = {
            "server": f"https://127.0.0.1:{server.server_address[1]}",
            "certificate-authority-data": base64.b64encode(certificate).decode(),
        }
        path = folder / "kubeconfig"
        config = {
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "c", "user": {}}],
        }
        path.write_text(yaml.safe_dump(config))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()


def _certificate(until: datetime | None = None) -> tuple[bytes, ssl.SSLContext]:
    """Return a certificate for this machine, and how to serve with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "proxy")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=500))
        .not_valid_after(until or now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(pem + private)
        pair.flush()
        context.load_cert_chain(pair.name)
    return pem, context
