"""Whole runs on a lab whose API server fails: verified, or explained and gone on with later.

`make test-outages` runs these; the suite has the single requests, in tests/lab/test_connection.py.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from runbook_lib.base import ExitCode, State, wait
from runbook_lib.base.locations import lab_directory, repository_root
from runbook_lib.lab.foundation.state import marked_processes, write_state
from tests.labs import Lab
from tests.notebooks.headless import Run, execute, run, start
from tests.outages import api

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(900)]

NOTEBOOKS = ("--only", "04_mutual_tls", "--only", "05_authorization")
POLICIES = "peerauthentications,authorizationpolicies,destinationrules"


@pytest.fixture
def bare(mesh: Lab) -> Lab:
    """The mesh without any policy."""
    mesh.run("kubectl", "delete", POLICIES, "--all", "--all-namespaces")
    mesh.run(
        "kubectl", "--namespace", "kube-system", "delete", "lease", "istio-runbook", check=False
    )
    return mesh


@contextmanager
def seen_through(lab: Lab, folder: Path) -> Iterator[tuple[api.Proxy, Lab]]:
    """The same lab under another name, behind a proxy."""
    name = f"{lab.name}-proxy"
    own = lab_directory(name)
    own.mkdir(mode=0o700)
    try:
        with api.proxy(Path(lab.state.kubeconfig), folder) as (server, kubeconfig):
            state = replace(lab.state, name=name, kubeconfig=str(kubeconfig))
            write_state(name, state)
            yield server, Lab(state)
    finally:
        shutil.rmtree(own)


def is_whole(lab: Lab, ended: Run) -> bool:
    """Whether the evidence of a run holds, by the command that people use."""
    done = execute(lab, "-m", "runbook_lib", "report", str(ended.folder), "--check")
    print(done.stdout)
    return done.returncode == ExitCode.DONE


def assert_goes_on(lab: Lab, first: Run, folder: Path) -> None:
    """What a run left is whole, and the next one brings it to its end."""
    assert is_whole(lab, first)
    assert "Traceback" not in first.output
    second = run(lab, folder, *NOTEBOOKS)
    assert second.code == ExitCode.DONE, second.output
    assert set(second.outcomes.values()) == {"verified"}
    assert is_whole(lab, second)


def storm(server: api.Proxy, seed: int) -> list[api.Fault]:
    """Spoil one request in ten in a way that passes."""
    dice = random.Random(seed)

    def now_and_then(*methods: str) -> api.Where:
        return lambda request: (
            request.method in (methods or (request.method,))
            and (dice.random() < 0.015 and "watch=" not in request.path)
        )

    faults = [
        api.Fault(now_and_then(), times=99, status=429, retry_after=1),
        api.Fault(now_and_then(), times=99, status=503, retry_after=1),
        api.Fault(now_and_then("GET"), times=99, status=502),
        api.Fault(now_and_then("GET"), times=99, cut=api.Cut.BEFORE),
        api.Fault(now_and_then("GET"), times=99, cut=api.Cut.MIDDLE),
        api.Fault(now_and_then("PATCH", "PUT"), times=99, cut=api.Cut.AFTER),
        api.Fault(now_and_then(), times=99, seconds=0.5),
        api.Fault(now_and_then(), times=99, date="Fri, 02 Jan 2026 03:04:05 GMT"),
        api.Fault(lambda r: "watch=" in r.path and dice.random() < 0.3, 99, cut=api.Cut.MIDDLE),
    ]
    server.faults += faults
    return faults


@pytest.mark.parametrize("options", [("--plan",), NOTEBOOKS], ids=["plan", "apply"])
def test_what_passes_is_not_noticed(bare: Lab, tmp_path: Path, options: tuple[str, ...]) -> None:
    with seen_through(bare, tmp_path) as (server, lab):
        faults = storm(server, seed=1)
        found = run(lab, tmp_path / "runs", *options)
    print(found.output, len(server.asked), [len(fault.hits) for fault in faults])
    assert found.code == ExitCode.DONE
    assert sum(len(fault.hits) for fault in faults) > 20
    assert is_whole(bare, found)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 500}, "500 "),
        ({"cut": api.Cut.AFTER}, "no answer from the API server"),
        ({"status": 401}, "does not accept the credentials"),
        ({"status": 429, "retry_after": 1}, "429 "),
    ],
    ids=["500", "cut", "401", "429"],
)
def test_what_stays_is_explained_and_gone_on_with_later(
    bare: Lab, tmp_path: Path, fault: dict[str, object], words: str
) -> None:
    """From the first change of chapter 05 on, whatever is asked fails."""
    hit: list[api.Request] = []

    def from_then_on(request: api.Request) -> bool:
        change = request.method == "PATCH" and "dryRun" not in request.path
        if hit or (change and "destinationrules" in request.path):
            hit.append(request)
        return bool(hit)

    with (
        seen_through(bare, tmp_path) as (server, lab),
        server.spoilt(where=from_then_on, times=10**6, **fault),
    ):
        found = run(lab, tmp_path / "runs", *NOTEBOOKS)
    print(found.output)
    assert found.code in (ExitCode.FAILED, ExitCode.REFUSED)
    assert words in found.output
    assert_goes_on(bare, found, tmp_path / "runs")


def api_server(lab: Lab) -> psutil.Process:
    """The process of a lab's API server."""
    (found,) = [each for each in marked_processes(lab.name) if each.name() == "kube-apiserver"]
    return found


def test_an_api_server_that_is_restarted_again_and_again_is_waited_for(
    bare: Lab, tmp_path: Path
) -> None:
    with seen_through(bare, tmp_path) as (server, lab):
        seen: list[api.Request] = []

        def every_hundredth(request: api.Request) -> bool:
            seen.append(request)
            if len(seen) % 100 == 60:
                api_server(bare).kill()
            return False

        with server.spoilt(where=every_hundredth):
            found = run(lab, tmp_path / "runs", *NOTEBOOKS)
    print(found.output, len(seen))
    assert len(seen) > 60
    if found.code != ExitCode.DONE:
        assert "API server" in found.output
    assert_goes_on(bare, found, tmp_path / "runs")


@pytest.mark.parametrize("size", ["96k", "256k", "512k"])
def test_a_disk_that_fills_stops_a_run_before_its_next_change(
    bare: Lab, tmp_path: Path, size: str
) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    kept = tmp_path / "kept"
    command = f"{sys.executable} -m runbook_lib run --output {folder} {' '.join(NOTEBOOKS)}"
    script = (
        f"mount -t tmpfs -o size={size} tmpfs {folder}; {command}; "
        f"code=$?; cp -r {folder} {kept}; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=repository_root(),
        env=bare.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)
    (place,) = kept.iterdir()
    found = Run(done.returncode, done.stdout + done.stderr, place)
    assert found.code == ExitCode.FAILED
    assert "No space left on device" in found.output
    assert "free up disk space" in found.output
    assert_goes_on(bare, found, tmp_path / "runs")


def test_a_run_that_stood_still_while_another_had_its_turn_changes_nothing_more(
    bare: Lab, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        first = start(bare, tmp_path / "first", stream, *NOTEBOOKS)
        evidence = until_applying(tmp_path / "first")
        stopped = [psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)]
        try:
            for each in stopped:
                each.suspend()
            second = run(bare, tmp_path / "second", *NOTEBOOKS)
            bare.run("kubectl", "delete", POLICIES, "--all", "--all-namespaces")
        finally:
            for each in stopped:
                each.resume()
        first.wait(300)
    print(second.output, log.read_text())
    assert second.code == ExitCode.DONE
    assert first.returncode == ExitCode.BUSY
    assert "this run lost the cluster to another while it stood still" in log.read_text()
    live = bare.run("kubectl", "get", POLICIES, "--all-namespaces", "--output=name")
    assert "No resources found" in live
    assert is_whole(bare, Run(first.returncode, log.read_text(), evidence.parent))


def until_applying(folder: Path) -> Path:
    """Wait until a run makes its first change; return its evidence."""

    def observe() -> State:
        found = [f for f in folder.glob("*/evidence.jsonl") if "step-applying" in f.read_text()]
        return State(bool(found), str(found))

    wait.until("a run to change something", observe, timeout=180)
    (found,) = folder.glob("*/evidence.jsonl")
    return found
