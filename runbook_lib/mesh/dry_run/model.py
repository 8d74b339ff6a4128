"""What a dry run decided, and how much of it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Decision(StrEnum):
    """What the dry run made of a request; none if something refused it before."""

    ALLOWED = "allowed"
    REFUSED = "would be refused"
    NONE = "not decided"


@dataclass(frozen=True, order=True)
class Decided:
    """Requests that are alike.

    Attributes:
        method: Their method.
        path: Their path, with `*` for what could be a name.
        verdict: What the dry run made of them.
    """

    method: str
    path: str
    verdict: Decision

    @property
    def text(self) -> str:
        """The request in words, such as `PUT /data/projects/*`."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class PodRead:
    """How far one pod's log was read.

    Attributes:
        name: The pod's name.
        requests: How many requests were found in it, the runbook's own left out.
        gap: Why a part of it is not known; empty if all of it is.
    """

    name: str
    requests: int
    gap: str = ""


@dataclass(frozen=True)
class Reading:
    """The dry run's decisions over some time.

    Attributes:
        seconds: The time.
        counts: How many requests of each kind there were, the runbook's own left out.
        own: How many requests of the runbook's own there were.
        pods: The web pods.
    """

    seconds: int
    counts: Mapping[Decided, int]
    own: int
    pods: tuple[PodRead, ...]

    @property
    def total(self) -> int:
        """How many requests there were, the runbook's own left out."""
        return sum(self.counts.values())

    @property
    def refused(self) -> dict[Decided, int]:
        """What enforcing would refuse, the most frequent first."""
        found = [item for item in self.counts.items() if item[0].verdict is Decision.REFUSED]
        return dict(sorted(found, key=lambda item: (-item[1], item[0])))

    @property
    def complete(self) -> bool:
        """Whether every pod's log was read as a whole."""
        return not any(pod.gap for pod in self.pods)
