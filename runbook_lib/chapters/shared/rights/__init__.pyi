__all__ = [
    "APPLY",
    "DRY_RUN",
    "LOOK",
    "LOOKING",
    "RBAC",
    "AccountRole",
    "Right",
    "grants",
    "looking",
    "manifests",
    "merged",
    "missing",
    "page",
    "planned",
    "tried",
    "turns",
    "workloads",
]

from .asking import missing
from .looking import looking
from .manifests import manifests
from .page import page
from .right import (
    APPLY,
    DRY_RUN,
    LOOK,
    LOOKING,
    RBAC,
    AccountRole,
    Right,
    grants,
    merged,
    planned,
    tried,
    turns,
    workloads,
)
