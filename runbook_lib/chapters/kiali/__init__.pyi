__all__ = [
    "SHOWN_SECONDS",
    "Login",
]

from .login import SHOWN_SECONDS, Login
