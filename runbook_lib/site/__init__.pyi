__all__ = [
    "BYPASS",
    "CLOSED",
    "OWN_HEADER",
    "Expectation",
    "Observed",
    "Probe",
    "ProbeRow",
    "ProbeTable",
    "Sampler",
    "Samples",
]

from .probe import BYPASS, CLOSED, OWN_HEADER, Expectation, Observed, Probe, ProbeRow, ProbeTable
from .sampling import Sampler, Samples
