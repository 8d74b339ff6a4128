"""Helm's charts and releases, as its commands take and print them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+.*)?")


@dataclass(frozen=True)
class Chart:
    """Where a chart comes from.

    Attributes:
        reference: A chart's name in `repository`, or a local folder or archive.
        repository: URL of the chart repository; None for a local chart.
        version: Version to install; None for the newest in the repository.
    """

    reference: str | Path
    repository: str | None = None
    version: str | None = None

    def arguments(self) -> list[str]:
        """The chart as command line arguments."""
        reference = str(self.reference)
        arguments = []
        if self.repository and self.repository.startswith("oci://"):
            reference = f"{self.repository.rstrip('/')}/{reference}"
        elif self.repository:
            arguments += ["--repo", self.repository]
        if self.version:
            arguments += ["--version", self.version]
        return [reference, *arguments]

    @property
    def state(self) -> tuple[str, ...] | None:
        """What tells this chart from another; None where it may be another one each time.

        A version stays what it is, unlike the newest one. Of a local chart these are its files,
        with size and time of change.
        """
        if self.repository:
            return tuple(self.arguments()) if self.version else None
        place = Path(self.reference)
        files = (
            [place] if place.is_file() else [each for each in place.rglob("*") if each.is_file()]
        )
        states = ((each, each.stat()) for each in sorted(files))
        return tuple(f"{path} {now.st_size} {now.st_mtime_ns}" for path, now in states)


@dataclass(frozen=True)
class Release:
    """A release, as `helm list` and `helm status` show it.

    Attributes:
        name: The release's name.
        namespace: Its namespace.
        revision: Counts installs, upgrades and rollbacks from 1.
        status: `deployed`, `failed`, `pending-install`, ...
        chart: The chart's name, such as `istiod`.
        chart_version: The chart's version.
        since: When its last operation began, by the clock of whoever ran Helm; None if unknown.
    """

    name: str
    namespace: str
    revision: int
    status: str
    chart: str
    chart_version: str
    since: datetime | None = field(default=None, compare=False)

    @property
    def stuck(self) -> bool:
        """Whether it is in a state that only a running Helm should be in.

        A Helm that was killed half-way leaves it there, and every later `helm upgrade` refuses
        with "another operation (install/upgrade/rollback) is in progress".
        """
        return self.status.startswith("pending-") or self.status == "uninstalling"

    @property
    def deployed(self) -> bool:
        """Whether its last operation succeeded."""
        return self.status == "deployed"


def is_older(version: str, other: str) -> bool:
    """Whether a chart's version precedes another; no, if one of them is no semantic version.

    See https://semver.org/#spec-item-11.
    """
    first, second = _precedence(version), _precedence(other)
    return first is not None and second is not None and first < second


def of_history(entry: Mapping[str, Any]) -> Release:
    """Read a revision: an entry of `helm history`, with the release's name and namespace added."""
    # Name and version are joined by '-', and both may hold more of them.
    chart, *version = re.split(r"-(?=v?\d+\.\d+\.)", str(entry["chart"]), maxsplit=1)
    return Release(
        name=entry["name"],
        namespace=entry["namespace"],
        revision=int(entry["revision"]),
        status=entry["status"],
        chart=chart,
        chart_version="".join(version),
        since=moment(entry.get("updated", "")),
    )


def of_status(entry: Mapping[str, Any]) -> Release:
    """Read a release from what `helm upgrade` prints as JSON."""
    chart = entry["chart"]["metadata"]
    return Release(
        name=entry["name"],
        namespace=entry["namespace"],
        revision=int(entry["version"]),
        status=entry["info"]["status"],
        chart=chart["name"],
        chart_version=chart["version"],
    )


def moment(text: str) -> datetime | None:
    """Read a time as `helm history` and `helm status` print it; None if there is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _precedence(version: str) -> tuple[list[int], bool, list[tuple[bool, int, str]]] | None:
    """Return what sorts versions: the numbers, then releases after what comes before them."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return None
    *numbers, before = match.groups()
    identifiers = [
        (False, int(part), "") if part.isdigit() else (True, 0, part)
        for part in (before or "").split(".")
    ]
    return [int(number) for number in numbers], before is None, identifiers
