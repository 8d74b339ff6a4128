"""The label that asks for sidecars."""

from __future__ import annotations

from runbook_lib.cluster import Manifests, Object
from runbook_lib.mesh import injection_label
from runbook_lib.parameters import Parameters

_MANIFESTS = Manifests(__file__)


def labelled_namespace(parameters: Parameters) -> Object:
    """The application's namespace with the label that asks for sidecars, and nothing else."""
    manifest = _MANIFESTS.named("namespace-injection", parameters.application.namespace)
    key, value = injection_label(parameters)
    manifest["metadata"]["labels"] = {key: value}
    return manifest
