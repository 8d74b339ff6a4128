"""The library behind the notebooks: `from runbook_lib import Runbook`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbook_lib.notebook.runbook import Runbook

__all__ = ["Runbook"]


def __getattr__(name: str) -> Any:
    """Load `Runbook` when it is first asked for: the lab needs nothing of what it imports."""
    if name == "Runbook":
        from runbook_lib.notebook.runbook import Runbook

        return Runbook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
