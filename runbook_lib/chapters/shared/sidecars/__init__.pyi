__all__ = [
    "RestartWorkloads",
    "TryOnePod",
    "labelled_namespace",
]

from .canary import TryOnePod
from .manifest import labelled_namespace
from .restart import RestartWorkloads
