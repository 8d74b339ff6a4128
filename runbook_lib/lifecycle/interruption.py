"""What users lose while a plan is carried out, as it is announced beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Client(StrEnum):
    """Who uses the site: each notices other things."""

    BROWSER = "people in a browser"
    REST = "REST clients"
    UPLOAD = "large uploads"
    DEVICE = "imaging devices"


class Loss(StrEnum):
    """How much of it fails."""

    EVERYTHING = "everything"
    SINGLE_REQUESTS = "single requests"
    DEPENDENT = "what needs something that is away"
    UNFINISHED = "what was begun before"


@dataclass(frozen=True)
class Interruption:
    """Something that does not work for a while.

    Attributes:
        clients: Who notices.
        loss: How much fails.
        what: What fails, and how that shows.
        why: What it comes from.
        seconds: How long each time at most; 0 if it fails once and can be repeated at once; None if
            it depends on what a person does next.
        until: What ends it, where no time can be told.
    """

    clients: tuple[Client, ...]
    loss: Loss
    what: str
    why: str
    seconds: int | None
    until: str = ""

    @property
    def key(self) -> list[str]:
        """What an approval holds for: times are estimated anew with each plan."""
        return [*self.clients, self.what, self.why, self.until]

    @property
    def lasts(self) -> str:
        """For how long, in words."""
        if self.seconds is None:
            return self.until
        return f"up to {self.seconds} s" if self.seconds else "once"

    def __str__(self) -> str:
        """All of it in a line."""
        return f"{', '.join(self.clients)}: {self.what}, {self.lasts} ({self.why})"
