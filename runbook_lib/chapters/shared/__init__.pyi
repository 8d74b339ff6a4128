__all__ = [
    "Chapter",
    "RevertibleStep",
    "RollbackStep",
    "gone",
    "interruptions",
    "kept",
]

from .chapter import Chapter
from .reverting import RevertibleStep
from .rollback import RollbackStep, gone, interruptions, kept
