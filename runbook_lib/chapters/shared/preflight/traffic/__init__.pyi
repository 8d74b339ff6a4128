__all__ = [
    "Closed",
    "Closing",
    "closed_to_sidecars",
    "dependencies_past_sidecars",
    "istiod_out_of_reach",
    "metrics_ports",
    "not_spoken",
]

from .istiod import Closed, closed_to_sidecars, istiod_out_of_reach
from .metrics import metrics_ports
from .protocols import not_spoken
from .strict import Closing, dependencies_past_sidecars
