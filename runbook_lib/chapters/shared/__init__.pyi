__all__ = [
    "RollbackStep",
    "gone",
    "interruptions",
    "kept",
    "only_web_pod_is_replaced",
    "refused",
]

from .rollback import RollbackStep, gone, interruptions, kept, only_web_pod_is_replaced, refused
