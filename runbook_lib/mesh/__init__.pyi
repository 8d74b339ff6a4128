__all__ = [
    "BASIS_MEANINGS",
    "EDGE",
    "OUTSIDER",
    "OVER_HTTP",
    "SECURITY_API",
    "Basis",
    "Link",
    "LinkState",
    "MeshMap",
    "NamespaceView",
    "OwnPolicy",
    "PodView",
    "Policies",
    "Role",
    "Selection",
    "Sidecar",
    "WorkloadView",
    "has_ended",
    "injection_label",
    "is_web",
    "istiod_name",
    "of_replacement",
    "of_revision",
    "outside",
    "own_policies",
    "progress",
    "selection_mistakes",
    "wants_sidecar",
    "web_pods",
]

from .injection import wants_sidecar
from .interruptions import OVER_HTTP, of_replacement, outside
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
from .names import OwnPolicy, injection_label, istiod_name, of_revision, own_policies
from .rollout import has_ended, progress
from .traffic import SECURITY_API, Policies
from .web import Selection, is_web, selection_mistakes, web_pods
