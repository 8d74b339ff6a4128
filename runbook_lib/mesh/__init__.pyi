__all__ = [
    "BASIS_MEANINGS",
    "EDGE",
    "KIALI_PORT",
    "OUTSIDER",
    "READER_LABEL",
    "SECURITY_API",
    "Basis",
    "Link",
    "LinkState",
    "MeshMap",
    "NamespaceView",
    "PodView",
    "Policies",
    "Role",
    "Sidecar",
    "WorkloadView",
    "has_ended",
    "progress",
    "wants_sidecar",
]

from .injection_trial import wants_sidecar
from .manifest import KIALI_PORT, READER_LABEL
from .map import (
    BASIS_MEANINGS,
    EDGE,
    OUTSIDER,
    Basis,
    Link,
    LinkState,
    MeshMap,
    NamespaceView,
    PodView,
    Role,
    Sidecar,
    WorkloadView,
)
from .rollout import has_ended, progress
from .traffic import SECURITY_API, Policies
