"""Limits of the machine that a lab can meet, found before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

from runbook_lib.lab.foundation.errors import LabError

_INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_NEEDED = 24
"""What a lab with a mesh opens at most (19 were seen); an Envoy that gets none aborts."""


def require_inotify() -> None:
    """Check that the user has enough inotify instances left.

    Raises:
        LabError: there are too few; says how many and what to do.
    """
    limit, used = int(_INOTIFY_LIMIT.read_text()), _inotify_in_use()
    if limit - used < INOTIFY_NEEDED:
        raise LabError(
            f"a lab needs {INOTIFY_NEEDED} inotify instances, and {used} of {limit} are in use",
            remedy="stop other labs, or as root: sysctl fs.inotify.max_user_instances=512",
        )


def _inotify_in_use() -> int:
    """Count this user's inotify instances, as far as /proc shows them."""
    count = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if process.stat().st_uid != os.getuid():
                continue
            links = [str(each.readlink()) for each in (process / "fd").iterdir()]
        except OSError:
            continue  # it has ended meanwhile
        count += links.count("anon_inode:inotify")
    return count
