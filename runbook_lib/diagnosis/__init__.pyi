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
    "by_workload",
    "creation_failures",
    "details",
    "events_of",
    "health",
    "judge",
    "of_many",
    "pods_of",
    "proxy_name",
    "some",
    "unjudged",
    "wanted_pods",
]

from .commands import Transcript
from .judging import health, judge, unjudged
from .model import Cause, Diagnosis, Look, details
from .observation import (
    Observation,
    by_workload,
    creation_failures,
    events_of,
    of_many,
    pods_of,
    proxy_name,
    some,
    wanted_pods,
)
from .parts import Front, SiteAnswer
from .registry import Area, Rule
