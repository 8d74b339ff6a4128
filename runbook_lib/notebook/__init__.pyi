__all__ = [
    "Answer",
    "Answers",
    "Change",
    "LiveOutput",
    "Runbook",
    "Timeline",
]

from .outputs import LiveOutput
from .runbook import Runbook
from .timeline import Answer, Answers, Change, Timeline
