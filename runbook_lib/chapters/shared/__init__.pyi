__all__ = [
    "Chapter",
    "RevertibleStep",
    "RollbackStep",
    "gone",
    "interruptions",
    "kept",
    "only_web_pod_is_replaced",
]

from .chapter import Chapter
from .reverting import RevertibleStep
from .rollback import RollbackStep, gone, interruptions, kept, only_web_pod_is_replaced
