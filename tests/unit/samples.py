"""Values that several unit tests use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runbook_lib.cluster import Kubeconfig
from runbook_lib.lifecycle.target import Target
from runbook_lib.parameters import loading
from runbook_lib.parameters.capabilities import CAPABILITIES
from runbook_lib.parameters.loading import Parameters

LAB = Target(
    name="lab-default",
    kubeconfig=Kubeconfig.of(Path("/nowhere/kubeconfig")),
    context="lab-default",
    server="https://127.0.0.1:6443",
    uid="uid-1",
    url="http://127.0.0.1:8080",
    production=False,
    allows=CAPABILITIES["lab"],
)

PRODUCTION = Target(
    name="prod",
    kubeconfig=Kubeconfig.of(Path("/nowhere/kubeconfig")),
    context="prod",
    server="https://prod.example.com",
    uid="uid-2",
    url="https://xnat.example.com",
    production=True,
    allows=CAPABILITIES["cluster"],
)


def _probes(**answers: int) -> list[dict[str, Any]]:
    return [{"method": m, "path": "/", "status": status} for m, status in answers.items()]


LAB_PROBES = _probes(GET=200, HEAD=200, POST=200, DELETE=405)
"""One for each method of the lab's policy, and for the one that it denies."""

CLUSTER: dict[str, Any] = {
    "target": {"kind": "cluster", "context": "staging"},
    "application": {
        "url": "https://xnat.example.com",
        "probes": [*LAB_PROBES, *_probes(PUT=405, OPTIONS=200, PATCH=501)],
    },
}
"""The parameters that a cluster has no defaults for."""


def from_mapping(data: Mapping[str, Any], source: str = "the parameters") -> Parameters:
    """Parameters of Python values; what is not given is the lab's."""
    return loading.load(None, [loading.Layer(source, data)]).parameters


def lab_parameters(**given: Any) -> Parameters:
    """The lab's defaults with some keys given, and with a site of one page and one port."""
    plain = {"plaintext_ports": [], "dicom": None, "probes": LAB_PROBES}
    application = {**plain, **given.pop("application", {})}
    return from_mapping({**given, "application": application})
