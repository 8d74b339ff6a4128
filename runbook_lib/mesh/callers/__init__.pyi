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
    "job",
    "speaks",
]

from .asking import Calls, calling
from .expected import Expected, expected
from .manifest import job
from .model import Answer, Asker, Endpoint, Outcome, Question, Speaks, speaks
