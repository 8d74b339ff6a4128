__all__ = [
    "Answers",
    "LiveOutput",
    "Runbook",
    "StepChange",
    "Timeline",
    "answer_text",
    "is_denied",
]

from .outputs import LiveOutput
from .runbook import Runbook
from .timeline import Answers, StepChange, Timeline, answer_text, is_denied
