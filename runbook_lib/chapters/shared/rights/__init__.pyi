__all__ = [
    "APPLY",
    "DRY_RUN",
    "LOOK",
    "LOOKING",
    "RBAC",
    "Right",
    "Role",
    "grants",
    "looking",
    "manifests",
    "missing",
    "tried",
]

from .asking import missing
from .looking import looking
from .manifests import manifests
from .right import APPLY, DRY_RUN, LOOK, LOOKING, RBAC, Right, Role, grants, tried
