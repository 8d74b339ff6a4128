__all__ = ["Decided", "PodRead", "Reading", "Verdict", "access_log", "read"]

from .manifest import access_log
from .model import Decided, PodRead, Reading, Verdict
from .reading import read
