__all__ = [
    "FILE_VARIABLE",
    "LONGEST",
    "RECOMMENDED_TLS_POLICY",
    "ApplicationParameters",
    "ApprovalParameters",
    "AuthorizationParameters",
    "Capabilities",
    "ChartParameters",
    "Checked",
    "DicomParameters",
    "Layer",
    "Origin",
    "Parameters",
    "ProbeParameters",
    "RefusedParameters",
    "Risk",
    "RuleParameters",
    "WindowParameters",
]

from .approval import ApprovalParameters, WindowParameters
from .balancers import RECOMMENDED_TLS_POLICY
from .capabilities import Capabilities
from .formats import LONGEST
from .layers import Layer
from .loading import FILE_VARIABLE, Checked, Origin
from .model import (
    ApplicationParameters,
    AuthorizationParameters,
    ChartParameters,
    DicomParameters,
    Parameters,
    ProbeParameters,
    RefusedParameters,
    Risk,
    RuleParameters,
)
