"""A build is whole or not there, whoever interrupts it and however many build at once.

A small script plays the Go toolchain here; the real one is used by every other test of the lab.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runbook_lib.base.wait import State, until
from runbook_lib.lab.build import binaries, toolchain
from runbook_lib.lab.foundation.errors import LabError

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
    assert binaries.istio_version() in build.share("charts/base/Chart.yaml").read_text()
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
    assert len((toolbox / "builders").read_text().splitlines()) == len(binaries.MODULES)


def test_a_failed_build_shows_the_compilers_words(tmp_path: Path, toolbox: Path) -> None:
    (toolbox / "broken").touch()
    with pytest.raises(LabError, match=r"(?s)exit code 1.*one\.go:1: syntax error"):
        binaries.ensure_build(lambda *_: None)
    assert binaries.find_build() is None
    assert not _leftovers(tmp_path)


def test_the_digest_changes_with_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    before = binaries.BASE.digest()
    monkeypatch.setattr(binaries, "_flags", lambda: ["-race"])
    assert binaries.BASE.digest() != before


@pytest.mark.usefixtures("toolbox")
def test_a_module_that_changed_is_built_alone(toolbox: Path, tmp_path: Path) -> None:
    """The builds of the others are kept, and found beside it."""
    before = binaries.ensure_build(lambda *_: None)
    shutil.rmtree(before.addons["kiali"])
    assert binaries.find_build() is None
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


def test_an_old_toolchain_is_refused_by_name(
    toolbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = toolbox.parent / "bin" / "go"
    go.write_text("#!/bin/sh\necho go1.19.2\n")
    monkeypatch.setattr(toolchain.sysconfig, "get_path", lambda _: "/nonexistent")
    with pytest.raises(LabError, match=r"need Go 1\.26 or newer; found: .*\(1\.19\)"):
        toolchain.find_go()
