"""What becomes of a connection: what the caller sends meets what the server takes.

See https://istio.io/latest/docs/ops/configuration/traffic-management/tls-configuration/#sidecars
and, for what is automatic, `checkMtlsEnabled` in pilot/pkg/xds/endpoints/mtls_checker.go and
`BestEffortInferServiceMTLSMode` in pilot/pkg/model/push_context.go of Istio.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runbook_lib.mesh.policy.authentication import DISABLE, PERMISSIVE, STRICT
from runbook_lib.mesh.policy.destination import AUTOMATIC
from runbook_lib.mesh.policy.reason import Reason


class Connection(StrEnum):
    """What becomes of a connection, before any AuthorizationPolicy."""

    MUTUAL_TLS = "mutual TLS"
    PLAINTEXT = "plaintext"
    REFUSED = "refused"
    UNJUDGED = "not judged"


@dataclass(frozen=True)
class Server:
    """The end that is called.

    Attributes:
        sidecar: Whether it has a sidecar.
        mode: The mutual TLS mode on the port.
        past: Why connections to the port go past its sidecar; None if they do not.
        mode_for_all: The mode of its namespace: callers know this one when they decide whether to
            try mutual TLS at all.
    """

    sidecar: bool
    mode: str = PERMISSIVE
    past: Reason | None = None
    mode_for_all: str = PERMISSIVE

    @property
    def guarded(self) -> bool:
        """Whether a sidecar takes the connection."""
        return self.sidecar and self.past is None


def automatic(server: Server) -> str:
    """Return what callers with a sidecar send that no rule tells anything."""
    tries = server.sidecar and DISABLE not in (server.mode, server.mode_for_all)
    return "ISTIO_MUTUAL" if tries else "DISABLE"


def meet(sends: str, server: Server) -> tuple[Connection, str]:
    """Return what becomes of a connection, and why.

    Args:
        sends: The mode of a DestinationRule, or `AUTOMATIC`; `DISABLE` for a caller that has no
            sidecar or goes past it.
        server: Who is called.

    Returns:
        The outcome, and the reason as a clause about the server.
    """
    mode = automatic(server) if sends == AUTOMATIC else sends
    if mode == "ISTIO_MUTUAL":
        if not server.sidecar:
            return Connection.REFUSED, "the server has no sidecar, so it does not speak mutual TLS"
        if server.past is not None:
            return Connection.REFUSED, f"the port is not captured: {server.past.text}"
        if server.mode == DISABLE:
            why = "the server's port does without mutual TLS (PeerAuthentication: DISABLE)"
            return Connection.REFUSED, why
        return Connection.MUTUAL_TLS, f"both ends have sidecars; port is {server.mode}"
    if server.guarded and server.mode == STRICT:
        return Connection.REFUSED, "the server's port is STRICT"
    if mode != "DISABLE":
        return Connection.UNJUDGED, f"what a server makes of TLS mode {mode} is not judged"
    if not server.sidecar:
        return Connection.PLAINTEXT, "the server has no sidecar"
    if server.past is not None:
        return Connection.PLAINTEXT, f"the port is not captured: {server.past.text}"
    return Connection.PLAINTEXT, f"port is {server.mode}: plaintext is let in"
