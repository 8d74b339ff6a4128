__all__ = [
    "Answer",
    "Area",
    "Diagnosis",
    "Finding",
    "Kind",
    "Look",
    "Observation",
    "Rule",
    "Transcript",
    "creation_failures",
    "details",
    "health",
    "judge",
    "named",
    "pods_of",
    "unjudged",
    "wanted_pods",
]

from .commands import Transcript
from .judging import health, judge, unjudged
from .model import Diagnosis, Finding, Kind, Look, details
from .observation import Answer, Observation, creation_failures, named, pods_of, wanted_pods
from .registry import Area, Rule
