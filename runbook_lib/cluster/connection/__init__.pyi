__all__ = [
    "REQUEST_TIMEOUT",
    "KubeContext",
    "Kubeconfig",
    "api_errors",
    "clock",
    "connect",
    "describe",
    "in_url",
    "is_loopback",
]

from . import clock
from .client import REQUEST_TIMEOUT, connect, in_url, is_loopback
from .failures import api_errors, describe
from .kubeconfig import Kubeconfig, KubeContext
