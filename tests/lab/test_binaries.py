"""A build is whole or not there, whoever interrupts it and however many build at once.

A small script plays the Go toolchain here; the real one is used by every other test of the lab.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from runbook_lib.base.locations import lab_directory
from runbook_lib.base.wait import State, until
from runbook_lib.lab.build import archive, behind, binaries, recipes, toolchain
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.process import MARK
from runbook_lib.lab.foundation.state import marked_processes

GO = """#!/bin/sh
case "$1 $2" in
  "env GOVERSION") echo go1.26.1 ;;
  "mod download") ;;
  "list -deps" | "list -tags="*) printf 'one\\ntwo\\nthree\\n' ;;
  "list -m") echo "$MODULES/$5" ;;
  "build -v")
    name=$(basename "$PWD")
    [ "$name" = build ] && name=helm
    echo "$$" >> "$MODULES/builders"
    for last in "$@"; do [ "$previous" = -o ] && out=$last; previous=$last; done
    echo one >&2
    if [ -e "$MODULES/broken" ]; then echo "one.go:1: syntax error" >&2; exit 1; fi
    while [ -e "$MODULES/hold" ]; do sleep 0.05; done
    printf 'two\\nthree\\n' >&2
    echo program > "$out/$name" ;;
esac
"""
ENSURE = (
    "from runbook_lib.lab.build.binaries import ensure_build;"
    "print(ensure_build(lambda *message: print(*message, flush=True)).root)"
)


@pytest.fixture
def toolbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a toolchain of the test's own; returns the folder that steers the toolchain."""
    modules = tmp_path / "modules"
    for module, files in {
        "istio.io/istio": binaries.ISTIO_FILES,
        "sigs.k8s.io/kwok": binaries.KWOK_FILES,
    }.items():
        for name in files:
            path = modules / module / name
            if path.suffix:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("content")
            else:
                path.mkdir(parents=True)
                (path / "Chart.yaml").write_text("name: chart\nversion: 1.0.0\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "go").write_text(GO)
    (tools / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MODULES", str(modules))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return modules


def _builder() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ENSURE], stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def _until_building(toolbox: Path) -> None:
    until(
        "the build to begin",
        lambda: State((toolbox / "builders").exists(), "no builder yet"),
        timeout=20,
        interval=0.02,
    )


def _leftovers(tmp_path: Path) -> list[str]:
    return [p.name for p in (tmp_path / "cache/istio-runbook/builds").glob("*.partial-*")]


@pytest.mark.usefixtures("toolbox")
def test_a_build_reports_packages_and_drops_its_cache() -> None:
    seen: list[tuple[str, int, int]] = []
    build = binaries.ensure_build(lambda *message: seen.append(message))
    assert [message for message in seen if message[0].startswith("compiling")][-1] == (
        "compiling jaeger",
        12,
        12,
    )
    assert build.program("helm").read_text() == "program\n"
    assert build.program("kubectl").read_bytes() == binaries.kubectl().read_bytes()
    assert not list(build.root.parent.glob("*go-build*"))
    assert recipes.istio_version() in build.share("charts/base/Chart.yaml").read_text()
    assert binaries.ensure_build(lambda *_: pytest.fail("built twice")) == build


def test_an_interrupted_build_leaves_nothing_half_usable(tmp_path: Path, toolbox: Path) -> None:
    """Killed in the middle: the next one clears the traces and builds."""
    (toolbox / "hold").touch()
    builder = _builder()
    _until_building(toolbox)
    os.killpg(builder.pid, signal.SIGKILL)
    builder.communicate()
    assert binaries.find_build() is None
    assert _leftovers(tmp_path)
    (toolbox / "hold").unlink()
    assert binaries.ensure_build(lambda *_: None).program("helm").exists()
    assert not _leftovers(tmp_path)


def test_two_builds_at_once_take_turns(toolbox: Path) -> None:
    """The second waits, says so, and finds the work of the first."""
    (toolbox / "hold").touch()
    first = _builder()
    _until_building(toolbox)
    second = _builder()
    assert second.stdout is not None
    assert "waiting for another build" in second.stdout.readline()
    (toolbox / "hold").unlink()
    root = [builder.communicate(timeout=30)[0].splitlines()[-1] for builder in (first, second)]
    assert root[0] == root[1]
    assert len((toolbox / "builders").read_text().splitlines()) == len(recipes.MODULES)


def test_a_failed_build_shows_the_compilers_words(tmp_path: Path, toolbox: Path) -> None:
    (toolbox / "broken").touch()
    with pytest.raises(LabError, match=r"(?s)exit code 1.*one\.go:1: syntax error"):
        binaries.ensure_build(lambda *_: None)
    assert binaries.find_build() is None
    assert not _leftovers(tmp_path)


def test_the_digest_changes_with_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipes.BASE.digest()
    monkeypatch.setattr(recipes, "_flags", lambda: ["-race"])
    assert recipes.BASE.digest() != before


@pytest.mark.usefixtures("toolbox")
def test_a_module_that_changed_is_built_alone(toolbox: Path, tmp_path: Path) -> None:
    """The builds of the others are kept, and found beside it."""
    before = binaries.ensure_build(lambda *_: None)
    shutil.rmtree(before.addons["kiali"])
    assert [module.name for module in binaries.missing()] == ["kiali"]
    (toolbox / "builders").unlink()
    seen: list[tuple[str, int, int]] = []
    assert binaries.ensure_build(lambda *message: seen.append(message)) == before
    assert {phase for phase, _, _ in seen} == {
        "downloading Go modules of kiali",
        "compiling kiali",
    }
    assert len((toolbox / "builders").read_text().splitlines()) == 1
    assert before.program("kiali").parent != before.bin
    assert not list((tmp_path / "cache").rglob("*go-build*"))


def _until_compiling(folder: Path) -> None:
    def observe() -> State:
        with suppress(FileNotFoundError):
            said = (folder / "compiling.json").read_text()
            return State("compiling kiali" in said, said)
        return State(False, "nothing yet")

    until("an add-on to be compiled", observe, timeout=20, interval=0.02)


def _behind(folder: Path) -> subprocess.Popen[bytes]:
    """Compile what is missing as a process of lab `one`."""
    module = "runbook_lib.lab.build.behind"
    env = {**os.environ, MARK: str(folder)}
    return subprocess.Popen([sys.executable, "-m", module, "one"], env=env)


@pytest.fixture
def started(toolbox: Path) -> Iterator[Path]:
    """A lab's folder; its own programs have been built, and those of its add-ons have not."""
    build = binaries.ensure_build(lambda *_: None, (recipes.BASE,))
    assert binaries.find_build() == build
    (toolbox / "builders").unlink()
    folder = lab_directory("one")
    folder.mkdir(parents=True)
    yield folder
    for process in marked_processes("one"):
        process.kill()


def test_addons_are_compiled_behind_a_lab_that_runs(toolbox: Path, started: Path) -> None:
    """Until then their pods wait, and say for what."""
    program = recipes.ADDONS[0].root() / "bin" / "kiali"
    (toolbox / "hold").touch()
    compiling = _behind(started)
    _until_compiling(started)
    with pytest.raises(behind.BeingCompiled, match="is not there yet: compiling kiali: 10 %"):
        behind.require(program, started)
    (toolbox / "hold").unlink()
    seen: list[str] = []
    behind.wait("one", seen.append)
    assert seen[0].startswith("compiling kiali")
    assert behind.require(program, started) == program
    assert compiling.wait(timeout=20) == 0
    assert not list((toolbox.parent / "cache").rglob("*go-build*"))


def test_who_waits_for_addons_hears_why_there_are_none(toolbox: Path, started: Path) -> None:
    (toolbox / "broken").touch()
    _behind(started).wait(timeout=20)
    with pytest.raises(LabError, match=r"(?s)could not be compiled.*one\.go:1: syntax error"):
        behind.wait("one", lambda _: None)
    (toolbox / "broken").unlink()
    (toolbox / "hold").touch()
    compiling = _behind(started)
    _until_compiling(started)
    compiling.kill()
    compiling.wait()
    with pytest.raises(LabError, match="nothing compiles them any more; it was compiling kiali"):
        behind.wait("one", lambda _: None)


class _Server(ThreadingHTTPServer):
    """Serves one file on loopback; ends the first answer after `breaks_off` bytes."""

    def __init__(self, file: Path, breaks_off: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.breaks_off = file.read_bytes(), breaks_off
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/lab.tar.gz"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        rest = self.server.content[begin:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.server.breaks_off])
        self.server.breaks_off = None

    def log_message(self, *_: object) -> None: ...


@contextmanager
def _serving(file: Path, breaks_off: int | None = None) -> Iterator[_Server]:
    with _Server(file, breaks_off) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def _forget() -> None:
    for module in recipes.MODULES:
        shutil.rmtree(module.root())


@pytest.mark.usefixtures("toolbox")
def test_a_build_that_was_exported_is_fetched_whole_or_not_at_all(tmp_path: Path) -> None:
    built = binaries.ensure_build(lambda *_: None)
    file = tmp_path / "lab.tar.gz"
    sha256 = archive.export(file)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256
    assert archive.export(tmp_path / "again.tar.gz") == sha256
    _forget()
    with _serving(file, breaks_off=1000) as server:
        with pytest.raises(LabError, match=r"cannot be fetched: .*are kept"):
            archive.fetch(server.url, sha256, lambda *_: None)
        assert binaries.find_build() is None
        assert archive.fetch(server.url, sha256, lambda *_: None) == built
    assert server.asked == [None, "bytes=1000-"]
    assert built.program("helm").read_text() == "program\n"
    assert os.access(built.program("kubectl"), os.X_OK)
    assert built.program("jaeger").exists()
    assert not list(binaries.builds().glob("*download*"))
    assert not _leftovers(tmp_path)


@pytest.mark.usefixtures("toolbox")
def test_an_archive_of_another_sum_or_version_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binaries.ensure_build(lambda *_: None)
    file = tmp_path / "lab.tar.gz"
    sha256 = archive.export(file)
    _forget()
    with _serving(file) as server:
        with pytest.raises(LabError, match=f"{sha256}, and {'0' * 64} was given"):
            archive.fetch(server.url, "0" * 64, lambda *_: None)
        with pytest.raises(LabError, match="is no SHA-256"):
            archive.fetch(server.url, "sha", lambda *_: None)
        monkeypatch.setattr(recipes, "LAYOUT", "another")
        with pytest.raises(LabError, match=r"does not fit: it has no .*Kubernetes and Istio"):
            archive.fetch(server.url, sha256, lambda *_: None)
    assert binaries.find_build() is None
    with pytest.raises(LabError, match="not built yet: Kubernetes and Istio, kiali"):
        archive.export(file)


def test_an_old_toolchain_is_refused_by_name(
    toolbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = toolbox.parent / "bin" / "go"
    go.write_text("#!/bin/sh\necho go1.19.2\n")
    monkeypatch.setattr(toolchain.sysconfig, "get_path", lambda _: "/nonexistent")
    with pytest.raises(LabError, match=r"need Go 1\.26 or newer; found: .*\(1\.19\)"):
        toolchain.find_go()
