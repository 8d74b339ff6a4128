"""Who last set the fields in which an object differs from what it should be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from runbook_lib.cluster.objects import Object


@dataclass(frozen=True)
class Author:
    """Who manages a field that differs.

    Attributes:
        path: The field, such as `.spec.mtls.mode`.
        manager: The field manager's name; empty if the field is not there, for the API server does
            not record who removes one.
        at: When that manager last changed the object, as the API server writes it; empty if it
            did not say.
    """

    path: str
    manager: str = ""
    at: str = ""

    def __str__(self) -> str:
        """The field, by whom, and when."""
        if not self.manager:
            return f"{self.path} was removed; the API server does not record by whom"
        return f"{self.path} was set by {self.manager}" + (f" at {self.at}" if self.at else "")


class _Managed(NamedTuple):
    """What one manager manages of a field, or below it: a part of `fieldsV1`."""

    manager: str
    at: str
    fields: Object


def authors(live: Object, before: Any, after: Any) -> tuple[Author, ...]:
    """Return who manages each field that differs, in the order of the fields' names.

    See https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management; the form
    of `fieldsV1` is that of https://pkg.go.dev/sigs.k8s.io/structured-merge-diff/v6/fieldpath.

    Args:
        live: The object with its `managedFields`.
        before: The same, or a part of it that is compared.
        after: What it should be.
    """
    managed = [
        _Managed(entry["manager"], entry.get("time") or "", entry.get("fieldsV1") or {})
        for entry in live["metadata"].get("managedFields") or []
        if not entry.get("subresource")
    ]
    return tuple(dict.fromkeys(_differing(before, after, managed, "")))


def _differing(before: Any, after: Any, managed: Sequence[_Managed], path: str) -> Iterator[Author]:
    if before == after:
        return
    if isinstance(before or after, dict) and isinstance(after or before, dict):
        before, after = before or {}, after or {}
        for key in sorted(before.keys() | after.keys()):
            yield from _child(
                before.get(key), after.get(key), managed, f"f:{key}", f"{path}{_shown(key)}"
            )
    elif isinstance(before, list) and isinstance(after, list) and (keys := _elements(managed)):
        for key, identity in keys.items():
            had, has = (_element(items, identity) for items in (before, after))
            yield from _child(had, has, managed, key, f"{path}[{_label(identity)}]")
        for item in after:
            if not any(_has(item, identity) for identity in keys.values()) and item not in before:
                yield Author(path)
    elif before is None or not managed:
        yield Author(path)
    else:
        yield from (Author(path, each.manager, each.at) for each in managed)


def _child(
    before: Any, after: Any, managed: Sequence[_Managed], key: str, path: str
) -> Iterator[Author]:
    """Go down to a field, or to an element of a list; what is managed whole has no parts."""
    below = [each._replace(fields=each.fields[key]) for each in managed if key in each.fields]
    whole = [each for each in managed if not set(each.fields) - {"."}]
    yield from _differing(before, after, below or whole, path)


def _elements(managed: Sequence[_Managed]) -> dict[str, Object]:
    """Return the elements of a list that are managed by themselves, by their key in `fieldsV1`."""
    return {
        key: json.loads(key.removeprefix("k:"))
        for each in managed
        for key in each.fields
        if key.startswith("k:")
    }


def _element(items: Sequence[Any], identity: Object) -> Any:
    return next((item for item in items if _has(item, identity)), None)


def _has(item: Any, identity: Object) -> bool:
    return isinstance(item, dict) and all(item.get(k) == value for k, value in identity.items())


def _label(identity: Object) -> str:
    return ",".join(f"{key}={value}" for key, value in identity.items())


def _shown(key: str) -> str:
    return f".{key}" if key.replace("-", "").replace("_", "").isalnum() else f"[{key}]"
