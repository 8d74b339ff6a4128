__all__ = [
    "Listed",
    "before_label",
    "before_restart",
    "before_strict",
    "ending",
    "lacking",
    "listed",
    "named",
    "to_be_meshed",
    "without_sidecars",
]

from .everything import before_label, before_restart, before_strict
from .injecting import ending, without_sidecars
from .listed import Listed, lacking, listed, named, to_be_meshed
