__all__ = [
    "Account",
    "Call",
    "Command",
    "Item",
    "Listener",
    "LoadBalancer",
    "TargetGroup",
]

from .account import Account, Command
from .calls import Call, Item
from .load_balancers import Listener, LoadBalancer, TargetGroup
