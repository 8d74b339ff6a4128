"""What an approval takes besides a yes: enough persons, soon enough, at the right time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from runbook_lib.base import NotApproved
from runbook_lib.cluster.connection import clock
from runbook_lib.parameters import ApprovalParameters, WindowParameters


class Timed(Protocol):
    """What it takes of a cluster; `Cluster` is one."""

    def time(self) -> datetime | None:
        """The time by the cluster's clock."""


@dataclass(frozen=True)
class Permission:
    """The parameters' rules for approvals, on one cluster.

    Attributes:
        rules: The parameters.
        production: Whether users depend on the cluster: the window holds for those only.
    """

    rules: ApprovalParameters
    production: bool = False

    @property
    def depends_on_time(self) -> bool:
        """Whether it matters what time it is."""
        return (self.production and self.rules.window is not None) or bool(self.rules.expires)

    def require_window(self, now: datetime) -> None:
        """Check that it is the time for changes.

        Raises:
            NotApproved: It is not.
        """
        window = self.rules.window
        if self.production and window is not None and not is_open(window, now):
            there = now.astimezone(ZoneInfo(window.timezone))
            raise NotApproved(
                f"it is {there:%A, %H:%M} ({window.timezone}), and this cluster is changed "
                f"{window.text} only (approval.window)",
                "wait until then; plan and diagnose meanwhile",
            )

    def require_one(self) -> None:
        """Check that one person may decide alone.

        Raises:
            NotApproved: More than one has to.
        """
        if self.rules.persons > 1:
            raise NotApproved(
                f"{self.rules.persons} persons have to approve (approval.persons), "
                "each with an account of their own",
                "run the command plan; approve that run with the command approve; then carry "
                "it out with --approve-plan",
            )

    def require_persons(self, by: frozenset[str]) -> None:
        """Check that enough persons have approved.

        Args:
            by: Their accounts.

        Raises:
            NotApproved: There are too few.
        """
        if len(by) < self.rules.persons:
            raise NotApproved(
                f"{self.rules.persons} persons have to approve (approval.persons), and "
                f"{', '.join(sorted(by)) or 'none whom the cluster knows'} did",
                "have somebody else approve with the command approve, as an account of their own",
            )

    def require_fresh(self, made: datetime, now: datetime) -> None:
        """Check that plans are not too old.

        Raises:
            NotApproved: They are.
        """
        hours = self.rules.expires
        if hours is not None and made - now > clock.TOLERANCE:
            raise NotApproved(
                f"it was planned at {made:%Y-%m-%d %H:%M} UTC, which is yet to come: a clock is "
                "wrong, so it cannot be told whether it expires (approval.expires)",
                "set the clock, plan again, and have that reviewed",
            )
        if hours is not None and now - made > timedelta(hours=hours):
            raise NotApproved(
                f"it was planned at {made:%Y-%m-%d %H:%M} UTC, more than {hours} hours ago "
                "(approval.expires)",
                "plan again, and have that reviewed",
            )


def agreed_time(cluster: Timed) -> datetime:
    """Return the time, where this machine and the cluster agree on it.

    Windows and expiries would mean nothing by a clock that anybody can set, and a proxy may say
    what it likes: so neither of the two is believed against the other.

    Raises:
        NotApproved: They do not agree.
        ClusterUnreachable: No answer.
    """
    if difference := clock.difference(cluster.time()):
        raise NotApproved(
            f"{difference}: it cannot be told whether this is the time for changes (approval)",
            "set the clock that is wrong, such as with timedatectl, and run again",
        )
    return datetime.now(UTC)


def is_open(window: WindowParameters, now: datetime) -> bool:
    """Whether a moment is within a window, by the clock of the window's own time zone.

    A window that ends earlier in the day than it begins ends on the next day.
    """
    there = now.astimezone(ZoneInfo(window.timezone))
    begin, end, clock = window.begin, window.end, there.time().replace(tzinfo=None)
    today, yesterday = (f"{day:%a}".lower() in window.days for day in (there, _before(there)))
    if begin < end:
        return today and begin <= clock < end
    return (today and clock >= begin) or (yesterday and clock < end)


def _before(moment: datetime) -> datetime:
    return moment - timedelta(days=1)
