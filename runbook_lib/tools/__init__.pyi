__all__ = [
    "Chart",
    "ConnectedProxy",
    "Helm",
    "Istioctl",
    "Message",
    "Release",
    "Tools",
    "is_older",
]

from .helm import Helm
from .istioctl import ConnectedProxy, Istioctl, Message
from .programs import Tools
from .releases import Chart, Release, is_older
