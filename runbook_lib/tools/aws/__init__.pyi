__all__ = [
    "Account",
    "Call",
    "Command",
    "Item",
    "Listener",
    "LoadBalancer",
    "TargetGroup",
    "region_of",
]

from .account import Account, Command, region_of
from .calls import Call, Item
from .load_balancers import Listener, LoadBalancer, TargetGroup
