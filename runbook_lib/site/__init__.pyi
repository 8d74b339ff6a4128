__all__ = [
    "Expectation",
    "Observed",
    "Probe",
    "ProbeTable",
    "Sampler",
    "Samples",
]

from .probe import Expectation, Observed, Probe, ProbeTable
from .sampling import Sampler, Samples
