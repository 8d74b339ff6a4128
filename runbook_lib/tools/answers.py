"""What helm and istioctl say when the API server does not answer them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runbook_lib.base import CommandError
from runbook_lib.cluster import Kubeconfig

_NO_ANSWER = (
    "connection refused",
    "connection reset",
    "connection lost",
    "unexpected EOF",
    ": EOF",
    "i/o timeout",
    "TLS handshake timeout",
    "Client.Timeout exceeded",
    "context deadline exceeded",
    "cluster unreachable",
    "the server is currently unable to handle the request",
    "an error on the server",
    "the server was unable to return a response",
    "too many requests",
)
_REFUSED_LOGIN = ("the server has asked for the client to provide credentials", "Unauthorized")


@contextmanager
def explained(kubeconfig: Kubeconfig, context: str) -> Iterator[None]:
    """Say what to do where a program failed because of the API server, not of what it was told.

    Raises:
        CommandError: The program failed, whatever the cause.
    """
    try:
        yield
    except CommandError as error:
        if error.remedy or error.returncode is None:
            raise
        look = kubeconfig.kubectl(context, "get", "--raw", "/readyz")
        if any(sign in error.stderr for sign in _REFUSED_LOGIN):
            remedy = f"the API server does not accept the credentials; renew them, and try: {look}"
        elif any(sign.lower() in error.stderr.lower() for sign in _NO_ANSWER):
            remedy = (
                "the API server did not answer, or is failing; once it answers, run again, which "
                f"is safe: what was done is found. Try it: {look}"
            )
        else:
            raise
        raise CommandError(
            error.argv, error.returncode, error.stdout, error.stderr, remedy=remedy
        ) from error
