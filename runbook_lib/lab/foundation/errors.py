"""What can go wrong in the lab itself."""

from __future__ import annotations

from runbook_lib.base.errors import RunbookError


class LabError(RunbookError):
    """The lab could not be built, started or stopped; the message says what and why."""
