__all__ = [
    "ReleasePlanner",
    "Source",
]

from .planner import ReleasePlanner, Source
