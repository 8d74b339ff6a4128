"""The rules, one module an area; importing them registers them."""

from runbook_lib.diagnosis.rules import (
    admission,
    application,
    authorization,
    calls,
    control_plane,
    kiali,
    leftovers,
    membership,
    mutual_tls,
    proxies,
    scaling,
    services,
)

__all__ = [
    "admission",
    "application",
    "authorization",
    "calls",
    "control_plane",
    "kiali",
    "leftovers",
    "membership",
    "mutual_tls",
    "proxies",
    "scaling",
    "services",
]
