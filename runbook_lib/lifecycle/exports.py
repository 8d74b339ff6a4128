"""What a step leaves in a cluster, as Git would state it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runbook_lib.cluster import Object


@dataclass(frozen=True)
class ExportedRelease:
    """A Helm release by all that installs it.

    Attributes:
        name: The release's name.
        namespace: Where it is installed.
        chart: The chart's name.
        version: The chart's version.
        repository: URL of the chart's repository; None where the target brings the chart.
        values: What differs from the chart's own values.
    """

    name: str
    namespace: str
    chart: str
    version: str
    repository: str | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Exports:
    """What a step leaves in a cluster; a step that only asks or proves leaves nothing.

    Attributes:
        objects: Objects that are the runbook's alone, in the order in which they are applied.
        patches: The fields that it adds to objects of others, each as a manifest for a server-side
            apply.
        releases: Helm releases.
        by_hand: What no file can state, such as a restart, as a sentence for people.
    """

    objects: tuple[Object, ...] = ()
    patches: tuple[Object, ...] = ()
    releases: tuple[ExportedRelease, ...] = ()
    by_hand: str = ""
