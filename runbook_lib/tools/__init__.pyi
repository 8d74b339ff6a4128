__all__ = [
    "Chart",
    "Helm",
    "Istioctl",
    "Message",
    "Release",
    "Tools",
    "is_older",
]

from .helm import Chart, Helm, Release, is_older
from .istioctl import Istioctl, Message
from .programs import Tools
