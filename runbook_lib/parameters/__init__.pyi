__all__ = [
    "FILE_VARIABLE",
    "AuthorizationParameters",
    "Capabilities",
    "ChartParameters",
    "Checked",
    "DicomParameters",
    "Layer",
    "Origin",
    "Parameters",
    "ProbeParameters",
    "Risk",
    "RuleParameters",
]

from .capabilities import Capabilities
from .layers import Layer
from .loading import FILE_VARIABLE, Checked, Origin
from .model import (
    AuthorizationParameters,
    ChartParameters,
    DicomParameters,
    Parameters,
    ProbeParameters,
    Risk,
    RuleParameters,
)
