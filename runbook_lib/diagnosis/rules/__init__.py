"""The rules, one module or package an area; importing them registers them."""

from runbook_lib.diagnosis.rules import (
    application,
    authorization,
    aws,
    calls,
    control_plane,
    kiali,
    leftovers,
    membership,
    mesh_config,
    mutual_tls,
    network,
    proxies,
    scaling,
)

__all__ = [
    "application",
    "authorization",
    "aws",
    "calls",
    "control_plane",
    "kiali",
    "leftovers",
    "membership",
    "mesh_config",
    "mutual_tls",
    "network",
    "proxies",
    "scaling",
]
