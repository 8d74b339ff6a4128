__all__ = [
    "ChartParameters",
    "Parameters",
    "ProbeParameters",
]

from .loading import Parameters
from .model import ChartParameters, ProbeParameters
