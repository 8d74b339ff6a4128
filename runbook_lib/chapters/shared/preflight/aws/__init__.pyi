__all__ = [
    "AREAS",
    "before_authorization",
    "before_label",
    "before_mutual_tls",
    "looks",
    "unread",
]

from .looking import (
    AREAS,
    before_authorization,
    before_label,
    before_mutual_tls,
    looks,
    unread,
)
