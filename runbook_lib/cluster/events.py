"""What Kubernetes' components say about objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from runbook_lib.cluster.objects import Object


@dataclass(frozen=True)
class KubeEvent:
    """An Event about an object.

    Attributes:
        reason: Why it was written, in one word such as `FailedCreate`.
        message: What happened.
        count: How often.
        uid: Of the object that it is about: one of the same name may have been there before.
    """

    reason: str
    message: str
    count: int = 1
    uid: str = ""

    @classmethod
    def of(cls, event: Object) -> Self:
        """Read it from the API's object; a series counts in a field of its own."""
        count = (event.get("series") or {}).get("count") or event.get("count") or 1
        uid = (event.get("involvedObject") or {}).get("uid") or ""
        return cls(event.get("reason") or "?", event.get("message") or "", count, uid)

    @staticmethod
    def last_seen(event: Object) -> str:
        """Return when an event of the API's was last seen, as text that sorts; empty if unknown."""
        series = event.get("series") or {}
        times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
        return next((str(time) for time in times if time), "")

    def __str__(self) -> str:
        """The event as `Reason: message (xN)`."""
        times = f" (x{self.count})" if self.count > 1 else ""
        return f"{self.reason}: {self.message}{times}"
