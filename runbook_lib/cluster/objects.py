"""A Kubernetes object: its type, and what every object has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object, or a manifest of one, as the API server's JSON has it."""


def name_of(item: Object) -> str:
    """Return `metadata.name`."""
    return str(item["metadata"]["name"])


def namespace_of(item: Object) -> str:
    """Return `metadata.namespace` of an object that is in one."""
    return str(item["metadata"]["namespace"])


def place_of(item: Object) -> tuple[str, str, str]:
    """Return kind, name and namespace of an object that is in one."""
    return str(item["kind"]), name_of(item), namespace_of(item)


def labels_of(item: Object) -> dict[str, str]:
    """Return `metadata.labels`: empty where an object, or a pod's template, has none."""
    return (item.get("metadata") or {}).get("labels") or {}


def annotations_of(item: Object) -> dict[str, str]:
    """Return `metadata.annotations`: empty where an object, or a pod's template, has none."""
    return (item.get("metadata") or {}).get("annotations") or {}


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a selector selects what carries these labels; an empty one selects everything.

    Args:
        selector: A label selector, with `matchLabels` and `matchExpressions`, either of which may
            be missing; or a term of a node selector, which knows two more operators.
        labels: The labels.
    """
    return (selector.get("matchLabels") or {}).items() <= labels.items() and all(
        _holds(each["operator"], labels.get(each["key"]), each.get("values") or [])
        for each in selector.get("matchExpressions") or []
    )


def _holds(operator: str, found: str | None, values: list[str]) -> bool:
    if operator == "Exists":
        return found is not None
    if operator == "DoesNotExist":
        return found is None
    if operator == "Gt":
        return found is not None and int(found) > int(values[0])
    if operator == "Lt":
        return found is not None and int(found) < int(values[0])
    return (found in values) is (operator == "In")


def ref(kind: str, name: str, namespace: str | None = None) -> str:
    """Name an object as messages do: `Kind namespace/name`."""
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def reference(item: Object, field: str = "") -> str:
    """Name an object, or a field of it, as messages do: `Kind namespace/name .spec.field: value`.

    What the object lacks is shown as `?`.
    """
    metadata = item.get("metadata") or {}
    name = ref(item.get("kind", "?"), metadata.get("name", "?"), metadata.get("namespace"))
    return f"{name} {field}".rstrip()
