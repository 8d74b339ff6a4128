__all__ = [
    "Answers",
    "LiveOutput",
    "Runbook",
    "Section",
    "StepChange",
    "Timeline",
    "answer_text",
    "failed_click",
    "is_denied",
    "widget_view",
]

from .outputs import LiveOutput, failed_click, widget_view
from .runbook import Runbook
from .section import Section
from .timeline import Answers, StepChange, Timeline, answer_text, is_denied
