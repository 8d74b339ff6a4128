"""Which container images have a real process in the lab."""

from __future__ import annotations

import re

PILOT = "pilot"
PROXY = "proxyv2"
XNAT = "xnat-stand-in"

# Read both by Python and, as a jq test, by KWOK; so it keeps to what both understand.
PROCESS_IMAGE = f"/({PILOT}|{PROXY}|{XNAT})(:|@|$)"


def program_of(image: str) -> str | None:
    """`pilot`, `proxyv2` or `xnat-stand-in`; None for an image without a process here."""
    match = re.search(PROCESS_IMAGE, image)
    return match[1] if match else None
