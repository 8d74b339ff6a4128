__all__ = [
    "Exported",
    "Left",
    "collect",
    "files",
    "secrets",
    "write",
]

from . import secrets
from .collecting import Exported, Left, collect
from .folder import write
from .texts import files
