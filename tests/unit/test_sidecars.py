"""What a sidecar does with plaintext is read from its listeners."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.sidecars import accepts_plaintext


def _chain(transport: str | None, port: int | None = None) -> dict[str, Any]:
    match: dict[str, Any] = {}
    if transport:
        match["transportProtocol"] = transport
    if port:
        match["destinationPort"] = port
    return {"filterChainMatch": match}


def _inbound(*chains: dict[str, Any]) -> list[dict[str, Any]]:
    outbound = {"trafficDirection": "OUTBOUND", "filterChains": [_chain(None)]}
    return [outbound, {"trafficDirection": "INBOUND", "filterChains": list(chains)}]


@pytest.mark.parametrize(
    ("chains", "accepted"),
    [
        ([_chain("tls", 8080)], False),
        ([_chain("raw_buffer", 8080)], True),
        ([_chain("tls", 8080), _chain("raw_buffer", 8080)], True),
        ([_chain("tls"), _chain("raw_buffer")], True),
        ([_chain("tls")], False),
        # A chain for the port wins over one for any port, either way.
        ([_chain("tls", 8080), _chain("raw_buffer")], False),
        ([_chain("raw_buffer", 8080), _chain("tls")], True),
        # A chain for another port says nothing, such as the one that guards 15006 itself.
        ([_chain("tls"), _chain(None, 15006)], False),
        ([_chain("tls", 8080), _chain("raw_buffer", 9090)], False),
    ],
)
def test_plaintext_on_8080(chains: list[dict[str, Any]], accepted: bool) -> None:
    assert accepts_plaintext(_inbound(*chains), 8080) is accepted
