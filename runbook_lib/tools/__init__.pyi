__all__ = [
    "Chart",
    "Helm",
    "Istioctl",
    "Message",
    "Release",
    "Tools",
    "is_older",
]

from .helm import Helm
from .istioctl import Istioctl, Message
from .programs import Tools
from .releases import Chart, Release, is_older
