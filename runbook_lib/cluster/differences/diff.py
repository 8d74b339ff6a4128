"""What would change about an object: a unified diff of canonical YAML."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from runbook_lib.base import MASK
from runbook_lib.base.redact import redact
from runbook_lib.cluster.differences.authorship import Author, authors
from runbook_lib.cluster.objects import reference


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """The safe dumper in C: Istio's CRDs are a megabyte of YAML, which takes seconds in Python.

    Texts of several lines, such as the files in a ConfigMap, keep their lines: a difference in one
    of them then shows as such.
    """


def _text(dumper: Any, value: str) -> Any:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)

Action = Literal["create", "change", "delete", "none"]

_VOLATILE_METADATA = (
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
_VOLATILE_ANNOTATIONS = (
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
)
_WEBHOOK_KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_ISTIOD_WEBHOOK_NAMES = ("istio", ".istio.io")
"""istiod fills in caBundle, and failurePolicy once it is ready, of its own webhooks only."""


@dataclass(frozen=True)
class ObjectDiff:
    """The difference between an object as it is and as it should be.

    Attributes:
        ref: `Kind namespace/name`.
        action: `none` if there is nothing to do.
        lines: The unified diff, a string a line, without line ends; empty for `none`.
        digest: SHA-256 over both states, secret values included; two equal digests are the same
            change.
        authors: Who set the fields that change, where the object says so; no part of the digest.
    """

    ref: str
    action: Action
    lines: tuple[str, ...]
    digest: str
    authors: tuple[Author, ...] = ()

    @property
    def text(self) -> str:
        """The diff as one string."""
        return "\n".join(self.lines)


def object_diff(live: dict[str, Any] | None, desired: dict[str, Any] | None) -> ObjectDiff:
    """Compare an object with what it should become.

    Args:
        live: The object in the cluster; None if there is none.
        desired: The result of a dry-run apply, or a manifest; None to delete it.

    Raises:
        ValueError: Both are None.
    """
    subject = desired if desired is not None else live
    if subject is None:
        raise ValueError("there is neither a live nor a desired object")
    before, after = (normalise(item) if item is not None else None for item in (live, desired))
    name = reference(subject)
    digest = hashlib.sha256(
        json.dumps([name, before, after], sort_keys=True, default=str).encode()
    ).hexdigest()
    if before == after:
        return ObjectDiff(name, "none", (), digest)
    action: Action = "create" if before is None else "delete" if after is None else "change"
    who = authors(live, before, after) if live is not None and after is not None else ()
    return ObjectDiff(name, action, tuple(_lines(before, after)), digest, who)


def normalise(item: dict[str, Any]) -> dict[str, Any]:
    """Return a copy without the fields that the cluster writes by itself."""
    result = copy.deepcopy(item)
    result.pop("status", None)
    metadata = result.get("metadata") or {}
    for key in _VOLATILE_METADATA:
        metadata.pop(key, None)
    annotations = metadata.get("annotations")
    if annotations is not None:
        for key in _VOLATILE_ANNOTATIONS:
            annotations.pop(key, None)
        if not annotations:
            del metadata["annotations"]
    if result.get("kind") in _WEBHOOK_KINDS:
        for webhook in result.get("webhooks") or []:
            if str(webhook.get("name", "")).endswith(_ISTIOD_WEBHOOK_NAMES):
                (webhook.get("clientConfig") or {}).pop("caBundle", None)
                webhook.pop("failurePolicy", None)
    return result


def canonical_yaml(item: Any) -> str:
    """Return YAML with sorted keys: equal data gives equal text."""
    return str(yaml.dump(item, Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=100))


def _lines(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    before, after = _without_secrets(before, after)
    texts = ["" if item is None else redact(canonical_yaml(item)) for item in (before, after)]
    lines = difflib.unified_diff(
        texts[0].splitlines(), texts[1].splitlines(), "live", "desired", lineterm=""
    )
    return list(lines)


def _without_secrets(
    before: dict[str, Any] | None, after: dict[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Mask the values of a Secret, leaving visible which ones change."""
    if (after or before or {}).get("kind") != "Secret":
        return before, after
    before, after = copy.deepcopy(before), copy.deepcopy(after)
    for section in ("data", "stringData"):
        old = (before or {}).get(section) or {}
        new = (after or {}).get(section) or {}
        for key in {**old, **new}:
            changed = key in old and key in new and old[key] != new[key]
            if key in old:
                old[key] = MASK
            if key in new:
                new[key] = f"{MASK} (changed)" if changed else MASK
    return before, after
