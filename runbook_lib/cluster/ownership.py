"""Who made an object, and who changed it since: what a rollback must know before it deletes."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.cluster.names import FIELD_MANAGER
from runbook_lib.cluster.objects import Object

_KUBERNETES = "kube-controller-manager"


def managers(item: Object) -> dict[str, tuple[str, ...]]:
    """Return who manages which fields of an object, as paths such as `spec.rules`.

    Status is left out: controllers write it. See
    https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management.
    """
    found: dict[str, tuple[str, ...]] = {}
    for entry in item["metadata"].get("managedFields") or []:
        if "subresource" not in entry:
            paths = tuple(path for path in _paths(entry.get("fieldsV1") or {}) if path != "status")
            found[entry["manager"]] = (*found.get(entry["manager"], ()), *paths)
    return found


def is_own(item: Object) -> bool:
    """Whether the runbook applied the object, or a part of it."""
    return FIELD_MANAGER in managers(item)


def owns(item: Object, path: str) -> bool:
    """Whether the runbook manages a field, or a part of it."""
    return any(owned.startswith(path) for owned in managers(item).get(FIELD_MANAGER, ()))


def changed_by(item: Object) -> dict[str, tuple[str, ...]]:
    """Return the others who manage fields of the spec, and which.

    Kubernetes' own controllers write there too, such as the volume of a claim: they do not count.
    """
    return {
        manager: fields
        for manager, paths in managers(item).items()
        if manager not in (FIELD_MANAGER, _KUBERNETES)
        and (fields := tuple(path for path in paths if path.split(".")[0] == "spec"))
    }


def makers(item: Object) -> str:
    """Name those who manage an object, in words."""
    return ", ".join(sorted(managers(item))) or "somebody unknown"


def _paths(fields: Object, depth: int = 4) -> Iterator[str]:
    """Yield paths of fields, to a depth at which people still recognise them."""
    for key, below in fields.items():
        kind, _, name = key.partition(":")
        if kind != "f":  # `.` is the field itself, `k:` and `v:` are elements of lists
            continue
        deeper = list(_paths(below, depth - 1)) if depth > 1 else []
        yield from (f"{name}.{path}" for path in deeper) if deeper else [name]
