"""What an answer means, over real connections."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from runbook_lib.mesh.callers import Asker, Endpoint, Outcome, Question, Speaks
from runbook_lib.mesh.callers.asking import read_counts
from runbook_lib.mesh.callers.speaking import WayLost, ask
from runbook_lib.mesh.links import End


@contextmanager
def serving(answer: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers its first client so; None: it keeps quiet until the client leaves."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(4096))
                if answer is None:
                    connection.recv(1)
                else:
                    connection.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
        thread.join()


def question(speaks: Speaks, method: str = "GET") -> Question:
    server = Endpoint(End("web", sidecars=True), "web", "web.xnat.svc.cluster.local", 80, speaks)
    if speaks is Speaks.HTTP:
        return Question(Asker("xnat"), server, method, "/login")
    return Question(Asker("xnat"), server)


def http(status: str, body: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("said", "outcome", "text"),
    [
        (http("302 Found"), Outcome.ANSWERED, "302"),
        (http("403 Forbidden", "no"), Outcome.ANSWERED, "403"),
        (http("503 Service Unavailable", "down"), Outcome.ANSWERED, "503"),
        (http("403 Forbidden", "RBAC: access denied"), Outcome.DENIED, "RBAC: access denied"),
        (http("503 x", "upstream connect error or disconnect/reset"), Outcome.CLOSED, "503"),
        (http("503 x", "no healthy upstream"), Outcome.SILENT, "no healthy upstream"),
        (b"", Outcome.CLOSED, "closed"),
        (None, Outcome.SILENT, "no answer within 0.2 s"),
    ],
)
def test_http(said: bytes | None, outcome: Outcome, text: str) -> None:
    with serving(said) as (url, heard):
        answer = ask(question(Speaks.HTTP), url, timeout=0.2 if said is None else 5)
    assert answer.outcome is outcome
    assert text in answer.text
    # Sidecars find the route by the name of the Service.
    assert b"Host: web.xnat.svc.cluster.local\r\n" in heard[0]


@pytest.mark.parametrize(
    ("said", "outcome"),
    [(b"N", Outcome.ANSWERED), (b"S", Outcome.ANSWERED), (b"", Outcome.CLOSED)],
)
def test_postgresql(said: bytes, outcome: Outcome) -> None:
    with serving(said) as (url, heard):
        assert ask(question(Speaks.POSTGRESQL), url, timeout=5).outcome is outcome
    assert heard == [bytes.fromhex("0000000804d2162f")]


@pytest.mark.parametrize("speaks", list(Speaks))
def test_a_way_that_is_lost_is_no_answer(speaks: Speaks) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(WayLost):
        ask(question(speaks), url, timeout=1)


def test_handshakes_are_counted_by_host_and_port() -> None:
    web, db = "outbound|80||web.xnat.svc.cluster.local", "outbound|5432|v1|db.xnat"
    stats = {
        f"cluster.{web};.ssl.handshake": 2,
        f"cluster.{web};.upstream_cx_total": 3,
        f"cluster.{db}.upstream_cx_total": 1,
        f"cluster.{db}.upstream_cx_connect_fail": 1,
        "cluster.xds-grpc.upstream_cx_total": 9,
    }
    found = read_counts({"name": name, "value": value} for name, value in stats.items())
    assert found == {("web.xnat.svc.cluster.local", 80): (3, 2), ("db.xnat", 5432): (1, 0)}
