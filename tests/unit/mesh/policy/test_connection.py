"""What a caller sends meets what the server takes."""

from __future__ import annotations

import pytest

from runbook_lib.mesh.policy import Connection, Reason, Server, meet

PAST = Reason({"kind": "Pod", "metadata": {"name": "db-0"}}, ".metadata.annotations.x", "5432")
REFUSED, MUTUAL_TLS, PLAINTEXT = Connection.REFUSED, Connection.MUTUAL_TLS, Connection.PLAINTEXT


@pytest.mark.parametrize(
    ("sends", "server", "outcome"),
    [
        ("", Server(True, "STRICT"), MUTUAL_TLS),
        ("", Server(True, "PERMISSIVE"), MUTUAL_TLS),
        ("", Server(True, "DISABLE"), PLAINTEXT),
        ("", Server(False), PLAINTEXT),
        # Callers try no mutual TLS where that of the namespace is off, and the port refuses them.
        ("", Server(True, "STRICT", mode_for_all="DISABLE"), REFUSED),
        # A caller does not know that a port is not captured.
        ("", Server(True, "STRICT", PAST), REFUSED),
        ("", Server(True, "DISABLE", PAST), PLAINTEXT),
        ("ISTIO_MUTUAL", Server(True, "STRICT"), MUTUAL_TLS),
        ("ISTIO_MUTUAL", Server(True, "DISABLE"), REFUSED),
        ("ISTIO_MUTUAL", Server(False), REFUSED),
        ("ISTIO_MUTUAL", Server(True, "STRICT", PAST), REFUSED),
        ("DISABLE", Server(True, "STRICT"), REFUSED),
        ("DISABLE", Server(True, "PERMISSIVE"), PLAINTEXT),
        ("DISABLE", Server(False), PLAINTEXT),
        # Nothing is enforced where the port is not captured.
        ("DISABLE", Server(True, "STRICT", PAST), PLAINTEXT),
        ("SIMPLE", Server(True, "STRICT"), REFUSED),
        ("SIMPLE", Server(True, "PERMISSIVE"), Connection.UNJUDGED),
        ("SIMPLE", Server(False), Connection.UNJUDGED),
        ("MUTUAL", Server(True, "STRICT"), REFUSED),
    ],
)
def test_outcome(sends: str, server: Server, outcome: Connection) -> None:
    found, why = meet(sends, server)
    assert found is outcome
    assert why
