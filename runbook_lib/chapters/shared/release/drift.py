"""What is not in the cluster as a release says: someone changed an object behind Helm's back."""

from __future__ import annotations

from collections.abc import Iterable

from runbook_lib.chapters.shared.release.contested import HELM
from runbook_lib.cluster import Object, object_diff, restored
from runbook_lib.lifecycle import Change


def of_objects(present: Iterable[tuple[Object, Object]]) -> tuple[Change, ...]:
    """Return what others changed about a release's objects.

    Args:
        present: The objects as the chart renders them, each with the live one.
    """
    diffs = (object_diff(live, restored(live, item, {HELM})) for item, live in present)
    return tuple(Change.of_object(diff) for diff in diffs if diff.action != "none")
