__all__ = [
    "FILE_VARIABLE",
    "Capabilities",
    "ChartParameters",
    "Checked",
    "Layer",
    "Origin",
    "Parameters",
    "ProbeParameters",
]

from .capabilities import Capabilities
from .layers import Layer
from .loading import FILE_VARIABLE, Checked, Origin
from .model import ChartParameters, Parameters, ProbeParameters
