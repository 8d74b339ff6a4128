__all__ = [
    "Chapter",
    "RollbackStep",
    "gone",
    "interruptions",
    "kept",
    "only_web_pod_is_replaced",
    "refused",
]

from .chapter import Chapter
from .rollback import RollbackStep, gone, interruptions, kept, only_web_pod_is_replaced, refused
