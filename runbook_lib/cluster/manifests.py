"""Manifests: plain YAML files that a reader can apply by hand, with fields set from parameters.

Fields are set on the loaded data. No value is ever pasted into YAML text, so none can change what
the rest of a manifest means.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import yaml

from runbook_lib.cluster.objects import Object


class Manifests:
    """The manifests of one package: each in a YAML file of its own, in the folder `manifests`."""

    def __init__(self, module: str) -> None:
        """Find the folder.

        Args:
            module: The `__file__` of the module that the folder lies beside.
        """
        self._folder = Path(module).parent / "manifests"

    def load(self, name: str) -> Object:
        """Return a manifest as it stands in its file, to set fields on.

        Args:
            name: The file's name without suffix.
        """
        return copy.deepcopy(_parsed(self._folder / f"{name}.yaml"))

    def named(self, manifest: str, name: str, namespace: str | None = None) -> Object:
        """Return a manifest for an object of this name.

        Args:
            manifest: The file's name without suffix.
            name: The object's name.
            namespace: The object's namespace; None for an object that is in none.
        """
        loaded = self.load(manifest)
        loaded["metadata"]["name"] = name
        if namespace is not None:
            loaded["metadata"]["namespace"] = namespace
        return loaded


@cache
def _parsed(path: Path) -> Object:
    manifest: Object = yaml.safe_load(path.read_text(encoding="utf-8"))
    return manifest


def merged(base: Object, more: Object) -> Object:
    """Return `base` with what `more` adds or replaces, mapping by mapping."""
    result = dict(base)
    for key, value in more.items():
        inside = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if inside else value
    return result


def without_fields(item: Object) -> Object:
    """Name an object and nothing else: applying it gives up every field applied before.

    Server-side apply removes fields that no one else manages, see
    https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields.
    """
    metadata = item["metadata"]
    names = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": names}
