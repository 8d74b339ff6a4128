"""The namespace of istiod."""

from __future__ import annotations

from runbook_lib.cluster import Manifests, Object
from runbook_lib.parameters import Parameters

_MANIFESTS = Manifests(__file__)


def istio_namespace(parameters: Parameters) -> Object:
    """The namespace of istiod, marked as made by the runbook."""
    return _MANIFESTS.named("namespace-istio-system", parameters.istio.namespace)
