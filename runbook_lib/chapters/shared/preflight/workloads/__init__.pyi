__all__ = [
    "LEFT_BEHIND",
    "NATIVE",
    "Listed",
    "before_label",
    "before_restart",
    "before_strict",
    "ending",
    "impossible",
    "lacking",
    "listed",
    "named",
    "outdated",
    "strict_already",
    "stuck",
    "to_be_meshed",
    "without_sidecars",
]

from .everything import before_label, before_restart, before_strict
from .injecting import NATIVE, ending, impossible, without_sidecars
from .listed import Listed, lacking, listed, named, outdated, to_be_meshed
from .policies import strict_already
from .replacing import LEFT_BEHIND, stuck
