__all__ = [
    "OWN_HEADER",
    "Expectation",
    "Observed",
    "Probe",
    "ProbeTable",
    "Sampler",
    "Samples",
]

from .probe import OWN_HEADER, Expectation, Observed, Probe, ProbeTable
from .sampling import Sampler, Samples
