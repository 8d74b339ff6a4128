"""Commands and names as findings put them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_MANY = 3
"""Names shown of a longer list."""


def few(names: Sequence[str]) -> str:
    """Name the first of many, and how many more there are."""
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more


def kubectl(*words: str) -> str:
    """Return a kubectl command that can be pasted into a shell."""
    return shlex.join(["kubectl", *words])
