__all__ = [
    "Area",
    "Cause",
    "Diagnosis",
    "Front",
    "Look",
    "Observation",
    "Rule",
    "SiteAnswer",
    "Transcript",
    "creation_failures",
    "details",
    "health",
    "judge",
    "pods_of",
    "unjudged",
    "wanted_pods",
]

from .commands import Transcript
from .judging import health, judge, unjudged
from .model import Cause, Diagnosis, Look, details
from .observation import Front, Observation, SiteAnswer, creation_failures, pods_of, wanted_pods
from .registry import Area, Rule
