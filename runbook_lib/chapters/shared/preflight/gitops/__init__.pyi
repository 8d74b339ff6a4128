__all__ = [
    "Keeper",
    "injection_undone",
    "keeper_of",
    "policy_kept",
    "set_back",
]

from .keepers import Keeper, keeper_of
from .setting_back import injection_undone, policy_kept, set_back
