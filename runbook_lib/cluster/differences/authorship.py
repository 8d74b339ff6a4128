"""Who last set the fields in which an object differs from what it should be."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
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


_LEFT_OUT: tuple[Any, ...] = (None, False, 0, "", {}, [])
"""What the API server does not keep: these are the values of fields that are not there."""


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
    return tuple(dict.fromkeys(_differing(before, after, _managed(live), "")))


def restored(live: Object, given: Object, managers: Collection[str]) -> Object:
    """Return an object as it would be without what others changed of a manifest.

    It takes no dry run, and so no right to change anything. Whoever applied the manifest still
    manages a field that the API server merely writes otherwise, such as `1` for `1000m`.

    Args:
        live: The object with its `managedFields`.
        given: The manifest.
        managers: Whose values are right: whoever applied the manifest.
    """
    result: Object = _restored(live, given, _managed(live), managers)
    return result


def _managed(live: Object) -> list[_Managed]:
    """What everybody manages of an object; status and other subresources are controllers'."""
    return [
        _Managed(entry["manager"], entry.get("time") or "", entry.get("fieldsV1") or {})
        for entry in live["metadata"].get("managedFields") or []
        if not entry.get("subresource")
    ]


def _restored(live: Any, given: Any, managed: Sequence[_Managed], managers: Collection[str]) -> Any:
    if live == given:
        return live
    if isinstance(live, dict) and isinstance(given, dict):
        changed = dict(live)
        for key, value in given.items():
            if key in live:
                below = _below(managed, f"f:{key}")
                changed[key] = _restored(live[key], value, below, managers)
            elif value not in _LEFT_OUT:
                changed[key] = value
        return changed
    if isinstance(live, list) and isinstance(given, list) and (keys := _elements(managed)):
        result = list(live)
        for item in given:  # it may leave out what the API server adds to its key, as a protocol
            key, had = next(
                ((k, _element(live, i)) for k, i in keys.items() if _has({**i, **item}, i)),
                ("", None),
            )
            if had is None:
                result.append(item)
            else:
                place = live.index(had)
                result[place] = _restored(had, item, _below(managed, key), managers)
        return result
    return given if any(each.manager not in managers for each in managed) else live


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
    yield from _differing(before, after, _below(managed, key), path)


def _below(managed: Sequence[_Managed], key: str) -> list[_Managed]:
    """Go down to a field, or to an element of a list; what is managed whole has no parts."""
    below = [each._replace(fields=each.fields[key]) for each in managed if key in each.fields]
    return below or [each for each in managed if not set(each.fields) - {"."}]


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
