"""Kubeconfig files, merged as kubectl merges them.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbook_lib.base import ParameterError

_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
"""What a kubeconfig lists, and the key that holds an entry beside its name."""

_FILES = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
}
"""Keys that name a file, relative to the kubeconfig that has them."""

_REMEDY = "set target.kubeconfig to a kubeconfig, such as ~/.kube/config"

Entries = dict[str, dict[str, dict[str, Any]]]
"""The entries of each section by name."""


@dataclass(frozen=True)
class KubeContext:
    """One context, with all that it names.

    Attributes:
        name: The context's name.
        cluster: The name of the cluster it points to.
        server: That cluster's URL.
        settings: The cluster's entry, with absolute paths.
        user: The user's entry, likewise; it holds credentials. Empty if the context names none.
    """

    name: str
    cluster: str
    server: str
    settings: Mapping[str, Any] = field(repr=False, default_factory=dict)
    user: Mapping[str, Any] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class Kubeconfig:
    """One kubeconfig file, or several as $KUBECONFIG lists them.

    Of two entries with one name that of the first file holds; a context may be in one file, and its
    cluster and user in others.
    """

    files: tuple[Path, ...]

    @classmethod
    def of(cls, *files: Path) -> Kubeconfig:
        """The files, the first with the last word."""
        return cls(files)

    def __str__(self) -> str:
        """The files as $KUBECONFIG lists them."""
        return os.pathsep.join(map(str, self.files))

    def calling(self, program: str | Path) -> tuple[str, ...]:
        """Return how a command line of kubectl, helm or istioctl begins that uses these files.

        Their option `--kubeconfig` takes a single file.
        """
        if len(self.files) == 1:
            return (str(program), "--kubeconfig", str(self.files[0]))
        return ("env", f"KUBECONFIG={self}", str(program))

    def kubectl(self, context: str, *arguments: str) -> str:
        """Return a command line of kubectl for a shell, bound to a context of these files.

        A terminal's own kubeconfig and context may be others.
        """
        return shlex.join([*self.calling("kubectl"), "--context", context, *arguments])

    def context(self, name: str) -> KubeContext:
        """Return the context of this name.

        Raises:
            ParameterError: No file can be read, one is not a kubeconfig, there is no such context,
                or it names a cluster or a user that there is not.
        """
        entries = self._read()
        found = entries["contexts"].get(name)
        if found is None:
            raise ParameterError(
                f"target.context: {self} has no context {name!r}; "
                f"there are: {', '.join(sorted(entries['contexts'])) or 'none'}",
                "choose one of these; for EKS: "
                "aws eks update-kubeconfig --name CLUSTER --alias NAME",
            )
        cluster, user = found.get("cluster") or "", found.get("user") or ""
        settings = entries["clusters"].get(cluster, {})
        if not settings.get("server"):
            raise ParameterError(
                f"the context {name!r} of {self} names the cluster {cluster!r}, "
                "of which there is no server",
                _REMEDY,
            )
        if user and user not in entries["users"]:
            raise ParameterError(
                f"the context {name!r} of {self} names the user {user!r}, which there is not",
                _REMEDY,
            )
        login = entries["users"].get(user, {})
        return KubeContext(name, cluster, settings["server"].rstrip("/"), settings, login)

    @property
    def contexts(self) -> list[str]:
        """The names of all contexts, sorted.

        Raises:
            ParameterError: No file can be read, or one is not a kubeconfig.
        """
        return sorted(self._read()["contexts"])

    def _read(self) -> Entries:
        # Of several files those that are missing are passed over, a single one has to be there.
        files = [file for file in self.files if file.exists()] or self.files[:1]
        merged: Entries = {section: {} for section in _SECTIONS}
        for file in files:
            for section, entries in _entries(file).items():
                merged[section] = {**entries, **merged[section]}
        return merged


def _entries(file: Path) -> Entries:
    """Return what one file holds.

    Raises:
        ParameterError: It cannot be read, or is not a kubeconfig.
    """
    import yaml

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        found: Entries = {}
        for section, key in _SECTIONS.items():
            listed = data.get(section) or []
            found[section] = {
                item["name"]: _absolute(key, item.get(key) or {}, file.parent) for item in listed
            }
            if len(found[section]) < len(listed):
                raise ValueError(f"two of its {section} have one name")
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"cannot read the kubeconfig {file}: {error}", _REMEDY) from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        # Never the text of the file, which YAML's errors quote: it holds credentials.
        where = getattr(error, "problem_mark", None)
        why = f"line {where.line + 1}: {getattr(error, 'problem', '')}" if where else str(error)
        raise ParameterError(f"{file} is not a valid kubeconfig: {why}", _REMEDY) from None
    return found


def _absolute(key: str, entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    entry = dict(entry)
    for name in _FILES.get(key, ()):
        if entry.get(name):
            entry[name] = str((folder / entry[name]).absolute())
    plugin = entry.get("exec") or {}
    # A name without a slash is looked for on PATH.
    if os.sep in (plugin.get("command") or ""):
        entry["exec"] = {**plugin, "command": str((folder / plugin["command"]).absolute())}
    return entry
