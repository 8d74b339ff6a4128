__all__ = ["Decided", "Decision", "PodRead", "Reading", "access_log", "read"]

from .manifest import access_log
from .model import Decided, Decision, PodRead, Reading
from .reading import read
