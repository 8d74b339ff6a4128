"""Find the command line tools: those of the lab, or those on PATH."""

from __future__ import annotations

import functools
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.base import RunbookError, command_line, run

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

_HELM = 4
"""Helm's major version: others lack options, and apply on the client's side."""

_NEWEST_TRIED = {"helm": "4.2.0"}
"""What is fetched where no other version follows from the cluster."""

_ARCHIVES = {
    "helm": ("https://get.helm.sh", "helm-v{version}-{system}-{machine}.tar.gz", ".sha256sum"),
    "istioctl": (
        "https://github.com/istio/istio/releases/download/{version}",
        "istioctl-{version}-{system}-{machine}.tar.gz",
        ".sha256",
    ),
}
"""Where each release is, its archive, and what its file of checksums adds to that name."""


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
        return self.versions_of(*_VERSION_ARGUMENTS)

    def versions_of(self, *names: str) -> dict[str, str]:
        """As `versions`, for some of them.

        Raises:
            CommandError: A tool cannot be run.
        """
        programs = {name: getattr(self, name) for name in names}
        return {name: _version(name, p, _changed(p)) for name, p in programs.items()}


@functools.cache
def _version(name: str, program: Path, _changed: float) -> str:
    """Ask a program once for each time that it was changed: a process takes up to a second."""
    output = run([program, *_VERSION_ARGUMENTS[name]], timeout=_TIMEOUT).stdout
    first_line = output.strip().splitlines()[0] if output.strip() else "unknown"
    return first_line.rpartition(": ")[2]


def _changed(program: Path) -> float:
    try:
        return program.stat().st_mtime
    except OSError:  # running it will say why
        return 0.0


def find(directory: Path | None = None) -> Tools:
    """Return the tools in `directory`, or on PATH if it is None.

    Raises:
        RunbookError: Tools are missing, or Helm is of another major version; the error names all of
            them and how to get them.
    """
    found = {name: shutil.which(name, path=_path(directory)) for name in _WHERE}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise RunbookError(
            f"not found {f'in {directory}' if directory else 'on PATH'}: {', '.join(missing)}",
            f"start the lab again: {command_line('lab', 'up')}"
            if directory
            else "install " + ", ".join(f"{name} ({_WHERE[name]})" for name in missing),
        )
    tools = Tools(**{name: Path(path).resolve() for name, path in found.items() if path})
    if directory is None:  # the lab brings what it was built with
        _require_helm(tools)
    return tools


def download(program: str, version: str = "") -> str:
    """Return the commands that fetch helm, istioctl or kubectl and check its sum, here.

    Args:
        program: Which.
        version: Without a leading v; empty for the newest that was tried.
    """
    mac = sys.platform == "darwin"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "arm64")
    check = "shasum --algorithm 256 --check" if mac else "sha256sum --check"
    if program == "kubectl":
        place = f"https://dl.k8s.io/release/v{version}/bin/{'darwin' if mac else 'linux'}/{machine}"
        return (
            f"curl --fail --location --remote-name-all {place}/kubectl {place}/kubectl.sha256 && "
            f'echo "$(cat kubectl.sha256)  kubectl" | {check} && chmod +x kubectl'
        )
    address, archive, sums = _ARCHIVES[program]
    names = {
        "version": version or _NEWEST_TRIED[program],
        "machine": machine,
        "system": ("osx" if program == "istioctl" else "darwin") if mac else "linux",
    }
    url, file = address.format(**names), archive.format(**names)
    return (
        f"curl --fail --location --remote-name-all {url}/{file} {url}/{file}{sums} && "
        f"{check} {file}{sums} && tar --extract --gzip --file {file}"
    )


def _require_helm(tools: Tools) -> None:
    found = tools.versions_of("helm")["helm"]
    if int((re.match(r"v?(\d+)", found) or ["", "0"])[1]) != _HELM:
        raise RunbookError(
            f"{tools.helm} is Helm {found}, and Helm {_HELM} is needed: others lack options that "
            "this uses, and apply charts on the client's side",
            download("helm"),
        )


def _path(directory: Path | None) -> str | None:
    return str(directory) if directory else None
