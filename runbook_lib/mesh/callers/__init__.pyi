__all__ = [
    "Answer",
    "Asker",
    "Calls",
    "Endpoint",
    "Expected",
    "Outcome",
    "Question",
    "Speaks",
    "calling",
    "expected",
    "foreseen",
    "job",
    "made",
    "planned",
    "speaks",
]

from .asking import Calls, calling, foreseen, made, planned
from .expected import Expected, expected
from .manifest import job
from .model import Answer, Asker, Endpoint, Outcome, Question, Speaks, speaks
