"""Ask one question over a connection of its own, by way of a port on this machine."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx

from runbook_lib.mesh.callers.model import Answer, Outcome, Question, Speaks
from runbook_lib.mesh.traffic import DENIED

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""The first message of a PostgreSQL client, which any server answers with one byte before a login.

See https://www.postgresql.org/docs/current/protocol-message-formats.html.
"""

_NO_CONNECTION = "upstream connect error"
"""How the body of Envoy's 503 begins where the server's end closed the connection."""

_NO_ENDPOINT = "no healthy upstream"
"""The same where no pod is ready behind the Service."""


class WayLost(Exception):
    """The port on this machine does not take connections any more."""


def ask(question: Question, url: str, *, timeout: float) -> Answer:
    """Ask once.

    Args:
        question: The question, to a server that the runbook can speak with.
        url: The way to the server through the caller.
        timeout: Seconds to wait for an answer.

    Raises:
        WayLost: It was not asked.
    """
    if question.server.speaks is Speaks.HTTP:
        return _http(question, url, timeout)
    return _postgresql(url, timeout)


def _http(question: Question, url: str, timeout: float) -> Answer:
    # Sidecars find the route by the name.
    headers = {"Host": question.server.host, "Connection": "close"}
    try:
        with httpx.Client(timeout=timeout, trust_env=False, verify=False) as client:
            answer = client.request(question.method, url + question.path, headers=headers)
    except httpx.ConnectError as error:
        raise WayLost from error
    except httpx.TimeoutException:
        return _silent(timeout)
    except httpx.TransportError:
        return Answer(Outcome.CLOSED, "connection closed")
    status, body = answer.status_code, answer.text
    if status == DENIED.status and (question.method == "HEAD" or str(DENIED.body_contains) in body):
        return Answer(Outcome.DENIED, DENIED.text)
    if status == 503 and body.startswith(_NO_CONNECTION):
        return Answer(Outcome.CLOSED, "503, as the server's end closed the connection")
    if status == 503 and body.startswith(_NO_ENDPOINT):
        return Answer(Outcome.SILENT, f"503 {_NO_ENDPOINT}")
    return Answer(Outcome.ANSWERED, str(status))


def _postgresql(url: str, timeout: float) -> Answer:
    parts = urlsplit(url)
    try:
        connection = socket.create_connection((parts.hostname, parts.port), timeout)
    except OSError as error:
        raise WayLost from error
    with connection:
        try:
            connection.sendall(_SSL_REQUEST)
            said = connection.recv(1)
        except TimeoutError:
            return _silent(timeout)
        except OSError:
            said = b""
    if not said:
        return Answer(Outcome.CLOSED, "connection closed")
    return Answer(Outcome.ANSWERED, "PostgreSQL answers")


def _silent(timeout: float) -> Answer:
    return Answer(Outcome.SILENT, f"no answer within {timeout:g} s")
