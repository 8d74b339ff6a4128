__all__ = [
    "Answers",
    "LiveOutput",
    "Runbook",
    "Section",
    "StepChange",
    "Timeline",
    "answer_text",
    "is_denied",
]

from .outputs import LiveOutput
from .runbook import Runbook
from .section import Section
from .timeline import Answers, StepChange, Timeline, answer_text, is_denied
