"""Who runs this kernel."""

from __future__ import annotations

import getpass
import os
import socket


def operator() -> str:
    """Return who runs this kernel, as `user@host`; a user without a name by its id."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container; newer versions of Python raise OSError
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
