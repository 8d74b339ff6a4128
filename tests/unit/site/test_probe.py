from __future__ import annotations

import datetime as dt
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from runbook_lib.site.probe import (
    Expectation,
    Observed,
    Probe,
    ProbeRow,
    ProbeTable,
    UnexpectedAnswers,
    prove,
    send,
)

GET = Probe("GET", "/", Expectation(200))
DENIED = Expectation(403, "RBAC: access denied")


class Site(ThreadingHTTPServer):
    """An application whose next answers are given as (status, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, str]] = [(200, "<html><title>XNAT\n login</title></html>")]
        self.connections: list[int] = []
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open for as long as the client likes."""

    protocol_version = "HTTP/1.1"
    server: Site

    def answer(self) -> None:
        self.server.connections.append(self.client_address[1])
        answers = self.server.answers
        status, text = answers.pop(0) if len(answers) > 1 else answers[0]
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 - names given by http.server

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        thread.join()
        site.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as running:
        yield running


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that accepts connections, and leaves what happens then to the test."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_answer_has_status_and_the_title_on_one_line(site: Site) -> None:
    observed = send(site.url, GET, timeout=5)
    assert (observed.status, observed.excerpt, observed.error) == (200, "XNAT login", None)


def test_a_long_body_is_shortened_and_its_secrets_are_masked(site: Site) -> None:
    site.answers = [(200, "Bearer abcdefghijklmnop " + "x" * 100)]
    excerpt = send(site.url, GET, timeout=5).excerpt
    assert len(excerpt) == 60
    assert excerpt.startswith("Bearer [redacted] xxx")
    assert excerpt.endswith("…")


def test_a_redirect_is_an_answer(site: Site) -> None:
    site.answers = [(302, "")]
    assert send(site.url, GET, timeout=5).status == 302
    assert len(site.connections) == 1


def test_every_request_uses_a_connection_of_its_own(site: Site) -> None:
    prove(site.url, [GET, GET], timeout=10, successes=3)
    assert len(site.connections) == 6
    assert len(set(site.connections)) == 6


def test_a_head_has_no_body_to_judge(site: Site) -> None:
    site.answers = [(403, "RBAC: access denied")]
    assert prove(site.url, [Probe("HEAD", "/", DENIED)], timeout=5).ok


def test_a_refused_connection_is_named(listener: socket.socket) -> None:
    url = url_of(listener)
    listener.close()
    observed = send(url, GET, timeout=5)
    assert (observed.status, observed.error) == (None, "connection refused")


def test_a_proxy_from_the_environment_is_not_asked_for_this_machine(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert send(site.url, GET, timeout=5).status == 200
    assert send("http://xnat.invalid", GET, timeout=5).error == "connection refused"


def test_a_reset_is_named(listener: socket.socket) -> None:
    def reset() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        # Lingering for zero seconds makes the close a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    thread = threading.Thread(target=reset)
    thread.start()
    assert send(url_of(listener), GET, timeout=5).error == "connection reset"
    thread.join()


def test_a_connection_that_is_closed_without_an_answer_counts_as_reset(
    listener: socket.socket,
) -> None:
    def close() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.close()

    thread = threading.Thread(target=close)
    thread.start()
    assert send(url_of(listener), GET, timeout=5).error == "connection reset"
    thread.join()


def test_no_answer_in_time_is_named(listener: socket.socket) -> None:
    assert send(url_of(listener), GET, timeout=0.2).error == "timeout: no answer within 0.2 s"


def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert send("http://xnat.invalid", GET, timeout=5).error == "unknown host name"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "xnat")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
def tls_site(certificate: Path) -> Iterator[Site]:
    site = Site()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    site.socket = context.wrap_socket(site.socket, server_side=True)
    site.scheme = "https"
    site.handle_error = lambda *_: None  # type: ignore[method-assign]
    with serving(site) as running:
        yield running


def test_a_certificate_of_an_unknown_ca_is_named(tls_site: Site) -> None:
    error = send(tls_site.url, GET, timeout=5).error
    assert error is not None
    assert error.startswith("TLS error")
    assert "self-signed certificate" in error


def test_a_private_ca_can_be_trusted(tls_site: Site, certificate: Path) -> None:
    assert send(tls_site.url, GET, timeout=5, verify=certificate).status == 200


def test_verification_can_be_switched_off(tls_site: Site) -> None:
    assert send(tls_site.url, GET, timeout=5, verify=False).status == 200


def test_plain_text_to_a_tls_port_is_no_answer(tls_site: Site) -> None:
    url = tls_site.url.replace("https", "http")
    assert send(url, GET, timeout=5).error == "connection reset"


def test_proving_waits_until_the_answers_are_right_in_a_row(site: Site) -> None:
    site.answers = [(502, "Bad Gateway"), (200, ""), (502, "Bad Gateway"), (200, "")]
    changes: list[str] = []
    table = prove(site.url, [GET], timeout=10, successes=3, on_change=changes.append)
    assert table.ok
    assert len(site.connections) == 6
    assert changes == ["GET 502 Bad Gateway", "GET 200", "GET 502 Bad Gateway", "GET 200"]


def test_answers_on_the_way_are_told_whenever_they_differ(site: Site) -> None:
    site.answers = [(502, "Bad Gateway"), (502, "Bad Gateway"), (200, "")]
    seen: list[tuple[int | None, bool]] = []
    prove(
        site.url,
        [GET],
        timeout=10,
        on_answers=lambda table: seen.append((table.rows[0].observed.status, table.ok)),
    )
    assert seen == [(502, False), (200, True)]


def test_what_cannot_be_proved_comes_with_the_last_answers(site: Site) -> None:
    post = Probe("POST", "/", DENIED)
    with pytest.raises(UnexpectedAnswers, match="did not give the expected answers") as caught:
        prove(site.url, [GET, post], timeout=0.3)
    found = [(row.probe, row.observed.text, row.ok) for row in caught.value.answers.rows]
    assert found == [(GET, "200 XNAT login", True), (post, "200 XNAT login", False)]


@pytest.mark.parametrize(
    ("method", "status", "body", "ok"),
    [
        ("POST", 403, "RBAC: access denied", True),
        ("POST", 403, "Forbidden by the application", False),
        ("POST", 200, "RBAC: access denied", False),
        ("POST", None, "", False),
        ("HEAD", 403, "", True),
    ],
)
def test_status_and_body_must_both_be_as_expected(
    method: str, status: int | None, body: str, ok: bool
) -> None:
    row = ProbeRow(Probe(method, "/", DENIED), Observed(method, status, body=body))
    assert row.ok is ok
    assert ProbeTable((row,)).ok is ok
