"""The section about approvals: how many persons, for how long, and when."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from runbook_lib.parameters.formats import problem
from runbook_lib.parameters.strict import StrictModel


def _clock(value: Any) -> Any:
    """Read a time of day such as `20:30`; without quotes YAML takes it for a number."""
    if isinstance(value, time):
        return value
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if found is None:
        raise problem(f"must be a time of day, and is {value!r}", 'write it with quotes: "20:30"')
    return time(int(found[1]), int(found[2]))


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise problem(
            f"must be a time zone that this machine knows, and is {value!r}",
            "write one such as Europe/Berlin, or UTC",
        ) from None
    return value


Clock = Annotated[time, BeforeValidator(_clock)]
TimeZone = Annotated[str, AfterValidator(_zone)]

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class WindowParameters(StrictModel):
    """When a production cluster may be changed; one that ends before it begins ends next day."""

    days: Annotated[tuple[Day, ...], Field(strict=False, min_length=1)]
    begin: Clock
    end: Clock
    timezone: TimeZone = "UTC"

    @property
    def text(self) -> str:
        """The window in words."""
        return f"{', '.join(self.days)} {self.begin:%H:%M} to {self.end:%H:%M} {self.timezone}"


class ApprovalParameters(StrictModel):
    """What an approval takes besides a yes."""

    persons: Annotated[int, Field(ge=1, le=9)] = 1
    expires: Annotated[int, Field(ge=1, le=8760)] | None = None
    window: WindowParameters | None = None
