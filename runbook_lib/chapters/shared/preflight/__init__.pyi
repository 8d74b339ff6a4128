__all__ = [
    "CHECKS",
    "INSTALLED_BY",
    "RELEASE_NAME",
    "RELEASE_NAMESPACE",
    "SUPPORTED",
    "changed_by_others",
    "control_plane",
    "deletion",
    "few",
    "foreign",
    "hidden",
    "in_force",
    "injection_undone",
    "is_own",
    "istiods_of_others",
    "istios",
    "keeper_of",
    "kiali_of_others",
    "kinds",
    "meshes",
    "namespace",
    "namespaces",
    "not_injected",
    "not_mesh_wide",
    "operator",
    "policy_kept",
    "precheck",
    "release_of",
    "releases",
    "risk",
    "row",
    "set_back",
    "table",
    "take_over",
    "versions",
    "webhooks",
]

from .admission import webhooks
from .answers import hidden
from .everything import CHECKS, row, table
from .gitops import injection_undone, keeper_of, policy_kept, set_back
from .helm import (
    INSTALLED_BY,
    RELEASE_NAME,
    RELEASE_NAMESPACE,
    foreign,
    is_own,
    kinds,
    release_of,
    releases,
    take_over,
)
from .istio import control_plane, istiods_of_others, istios, meshes
from .kiali import kiali_of_others, operator
from .leaving import deletion, namespace, namespaces
from .mesh_config import in_force, not_injected, not_mesh_wide
from .policies import changed_by_others
from .upgrades import SUPPORTED, precheck, versions
from .wording import few, risk
