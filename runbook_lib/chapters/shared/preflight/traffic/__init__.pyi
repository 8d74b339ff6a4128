__all__ = [
    "Closed",
    "Closing",
    "Peer",
    "Verdict",
    "closed_to_sidecars",
    "dependencies_past_sidecars",
    "istiod_out_of_reach",
    "judge",
    "metrics_ports",
    "named_ports",
    "not_spoken",
    "past_sidecars",
    "two_families",
]

from .families import past_sidecars, two_families
from .istiod import Closed, closed_to_sidecars, istiod_out_of_reach
from .metrics import metrics_ports
from .network_policies import Peer, Verdict, judge, named_ports
from .protocols import not_spoken
from .strict import Closing, dependencies_past_sidecars
