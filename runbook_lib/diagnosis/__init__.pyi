__all__ = [
    "Answer",
    "Diagnosis",
    "Finding",
    "Kind",
    "Look",
    "Observation",
    "Transcript",
    "creation_failures",
    "details",
    "named",
    "pods_of",
    "wanted_pods",
]

from .commands import Transcript
from .model import Diagnosis, Finding, Kind, Look, details
from .observation import Answer, Observation, creation_failures, named, pods_of, wanted_pods
