"""Find the command line tools: those of the lab, or those on PATH."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.base import RunbookError, run

_WHERE = {
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "helm": "https://helm.sh/docs/intro/install/",
    "istioctl": "https://istio.io/latest/docs/setup/additional-setup/download-istio-release/",
}
"""Where to get each tool."""

_VERSION_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "kubectl": ("version", "--client"),
    "helm": ("version", "--short"),
    "istioctl": ("version", "--remote=false"),
}

_TIMEOUT = 30.0


@dataclass(frozen=True)
class Tools:
    """The programs that the runbook calls, as absolute paths."""

    kubectl: Path
    helm: Path
    istioctl: Path

    def versions(self) -> dict[str, str]:
        """Return each tool's own version, such as `v1.36.3`, without contacting a cluster.

        Raises:
            CommandError: A tool cannot be run.
        """
        found = {}
        for name, arguments in _VERSION_ARGUMENTS.items():
            output = run([getattr(self, name), *arguments], timeout=_TIMEOUT).stdout
            first_line = output.strip().splitlines()[0] if output.strip() else "unknown"
            found[name] = first_line.rpartition(": ")[2]
        return found


def find(directory: Path | None = None) -> Tools:
    """Return the tools in `directory`, or on PATH if it is None.

    Raises:
        RunbookError: Tools are missing; the error names all of them and where to get them.
    """
    found = {name: shutil.which(name, path=_path(directory)) for name in _WHERE}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise RunbookError(
            f"not found {f'in {directory}' if directory else 'on PATH'}: {', '.join(missing)}",
            "start the lab again: python -m runbook_lib lab up"
            if directory
            else "install " + ", ".join(f"{name} ({_WHERE[name]})" for name in missing),
        )
    return Tools(**{name: Path(path).resolve() for name, path in found.items() if path})


def _path(directory: Path | None) -> str | None:
    return str(directory) if directory else None
