__all__ = [
    "Chapter",
    "RollbackStep",
    "gone",
    "interruptions",
    "kept",
]

from .chapter import Chapter
from .rollback import RollbackStep, gone, interruptions, kept
