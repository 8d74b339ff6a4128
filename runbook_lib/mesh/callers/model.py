"""Who asks whom what, and what came of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from runbook_lib.cluster import Object
from runbook_lib.mesh.links import End

_TRUST_DOMAIN = "cluster.local"


class Speaks(StrEnum):
    """What a server can be asked in."""

    HTTP = "HTTP"
    POSTGRESQL = "PostgreSQL"


class Outcome(StrEnum):
    """What came of a question."""

    ANSWERED = "answered"
    DENIED = "denied"
    """403 by an AuthorizationPolicy: the sidecar's answer, not the application's."""

    CLOSED = "closed"
    """The connection was closed in place of an answer, as sidecars do to plaintext under STRICT."""

    SILENT = "no answer"


@dataclass(frozen=True)
class Asker:
    """A pod that is there only to call.

    Attributes:
        namespace: Where it runs.
        account: Its service account, by which it is known in the mesh.
        sidecar: Whether it has a sidecar; without one it has no identity in the mesh.
    """

    namespace: str
    account: str = "default"
    sidecar: bool = True

    @property
    def principal(self) -> str:
        """As whom others see it under mutual TLS; empty if it has no identity."""
        if not self.sidecar:
            return ""
        return f"{_TRUST_DOMAIN}/ns/{self.namespace}/sa/{self.account}"

    @property
    def job(self) -> str:
        """The name of its Job."""
        words = f"as-{self.account[:30]}" if self.sidecar else "without-sidecar"
        return "istio-runbook-caller-" + re.sub(r"[^a-z0-9]+", "-", words).strip("-")

    @property
    def text(self) -> str:
        """The caller in a few words."""
        if not self.sidecar:
            return "without a sidecar"
        return f"in the mesh, {self.namespace}/{self.account}"


@dataclass(frozen=True, eq=False)
class Endpoint:
    """A workload that is called through its Service.

    Attributes:
        end: The workload as an end of links.
        service: The Service, by name.
        host: Its full host name.
        port: The Service's port.
        speaks: What it can be asked in; None if the runbook does not speak that.
    """

    end: End
    service: str
    host: str
    port: int
    speaks: Speaks | None

    @property
    def text(self) -> str:
        """The server in a few words, with the container's port."""
        return f"{self.end.name}:{self.end.port}"


@dataclass(frozen=True)
class Question:
    """What one caller asks one server.

    Attributes:
        caller: Who asks.
        server: Who is asked.
        method: The HTTP method; empty for what is not HTTP.
        path: The path; empty for what is not HTTP.
    """

    caller: Asker
    server: Endpoint
    method: str = ""
    path: str = ""


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    Attributes:
        outcome: In one word.
        text: The status, or how the connection ended, in a few words.
        mutual_tls: Whether the caller's sidecar used mutual TLS, by its own count of handshakes;
            None if that is not known.
    """

    outcome: Outcome
    text: str
    mutual_tls: bool | None = None


def speaks(port: Object, *, http: bool) -> Speaks | None:
    """Return what a port of a Service can be asked in.

    Args:
        port: An entry of the Service's `.spec.ports`.
        http: Whether sidecars read it as HTTP.
    """
    if http:
        return Speaks.HTTP
    named = f"{port.get('appProtocol') or ''} {port.get('name') or ''}".lower()
    if "postgres" in named or port["port"] == 5432:
        return Speaks.POSTGRESQL
    return None
