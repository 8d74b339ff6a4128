__all__ = [
    "Chapter",
    "RollbackStep",
    "gone",
    "interruptions",
    "kept",
    "only_web_pod_is_replaced",
]

from .chapter import Chapter
from .rollback import RollbackStep, gone, interruptions, kept, only_web_pod_is_replaced
