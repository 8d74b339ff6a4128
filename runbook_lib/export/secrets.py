"""Keep secrets out of files that are meant for Git.

They are left out rather than masked: a mask would be applied as if it were the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runbook_lib.base import redact_value
from runbook_lib.cluster import Object
from runbook_lib.lifecycle import ExportedRelease


def without_secrets(release: ExportedRelease) -> tuple[ExportedRelease, tuple[str, ...]]:
    """Return a release without its secret values, and the keys of these, such as `auth.token`."""
    values = dict(release.values)
    kept, removed = _split(values, redact_value(values))
    return replace(release, values=kept), tuple(removed)


def holds(item: Object) -> bool:
    """Whether an object is a Secret, or has something in it that looks like one."""
    return item["kind"] == "Secret" or bool(redact_value(item) != item)


def _split(
    values: Mapping[str, Any], masked: Mapping[str, Any], above: str = ""
) -> tuple[dict[str, Any], list[str]]:
    kept: dict[str, Any] = {}
    removed: list[str] = []
    for key, value in values.items():
        shown = masked.get(key)
        if shown == value:
            kept[key] = value
        elif isinstance(value, dict) and isinstance(shown, dict):
            kept[key], inside = _split(value, shown, f"{above}{key}.")
            removed += inside
        else:  # a list goes as a whole: without one of its items it would mean something else
            removed.append(f"{above}{key}")
    return kept, removed
