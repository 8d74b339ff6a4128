__all__ = [
    "FILE_VARIABLE",
    "Capabilities",
    "ChartParameters",
    "Checked",
    "DicomParameters",
    "Layer",
    "Origin",
    "Parameters",
    "ProbeParameters",
]

from .capabilities import Capabilities
from .layers import Layer
from .loading import FILE_VARIABLE, Checked, Origin
from .model import ChartParameters, DicomParameters, Parameters, ProbeParameters
