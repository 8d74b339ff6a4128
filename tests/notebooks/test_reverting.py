"""A run that ends between STRICT and the exception leaves a site that works, or the command."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from runbook_lib.base.wait import State, until
from runbook_lib.lifecycle import StepOutcome, runs
from runbook_lib.lifecycle.lease import Holder, Lease
from tests.labs import Lab
from tests.notebooks.headless import Run, run, start

pytestmark = [pytest.mark.lab, pytest.mark.notebooks, pytest.mark.timeout(240)]

TLS = "04_mutual_tls"
STRICT, EXCEPTION = "mutual-tls-strict", "mutual-tls-exception"
ASKED = "mutual-tls-asked"


@pytest.fixture(autouse=True)
def as_before(mesh: Lab) -> Iterator[None]:
    """Nothing of the chapter is left to the next test, whatever a test leaves."""
    yield
    for namespace in ("istio-system", "xnat"):
        policy = ("peerauthentication", "default", "--ignore-not-found")
        mesh.run("kubectl", "-n", namespace, "delete", *policy)


def broken_off(
    lab: Lab,
    output: Path,
    reached: tuple[str, Collection[StepOutcome]],
    end: Callable[[subprocess.Popen[str]], None],
    *options: str,
) -> Run:
    """A run of chapter 04 that is ended once a step has come so far."""
    with start(lab, output, subprocess.PIPE, "--only", TLS, *options) as process:
        step, outcomes = reached

        def observe() -> State:
            found = [runs.record_of(folder).step(TLS, step) for folder in output.glob("*")]
            return State(any(each.outcome in outcomes for each in found), str(found))

        until(f"{step} to be {' or '.join(outcomes)}", observe, timeout=90, interval=0.02)
        end(process)
        assert process.stdout is not None
        said = process.stdout.read()
    (folder,) = output.glob("*")
    return Run(process.returncode, said, folder)


def kill_kernels(process: subprocess.Popen[str]) -> None:
    for child in psutil.Process(process.pid).children(recursive=True):
        if "ipykernel" in " ".join(child.cmdline()):
            child.kill()


def other_run(lab: Lab, folder: Path) -> Lease:
    holder = Holder("other", "other-run", "somebody@elsewhere")
    return Lease(lab.context(folder).cluster, holder, seconds=2, patience=30)


def policies(lab: Lab) -> str:
    return lab.run("kubectl", "get", "peerauthentication", "--all-namespaces")


def test_ctrl_c_after_strict_takes_it_back(mesh: Lab, tmp_path: Path) -> None:
    done = broken_off(
        mesh,
        tmp_path,
        (EXCEPTION, {StepOutcome.PLANNED}),
        lambda process: process.send_signal(signal.SIGINT),
        "--set=on_failure=revert",
    )
    assert done.code == 130, done.output
    assert "Taken back, and proved: PeerAuthentication istio-system/default" in done.output
    assert "with 200, as it should. Run again to go on." in done.output
    assert done.outcomes[STRICT] == "taken back"
    assert "↶ taken back after a failure" in (done.folder / "report.html").read_text()
    assert mesh.request("GET").status_code == 200
    assert "No resources found" in policies(mesh)


def test_a_kernel_that_is_killed_while_the_exception_is_applied_takes_both_back(
    mesh: Lab, tmp_path: Path
) -> None:
    """The runner outlives its kernels, and knows from their evidence where they were."""
    # It is applied within milliseconds: a busy machine sees it a moment later, not proved yet.
    reached = (EXCEPTION, {StepOutcome.INTERRUPTED, StepOutcome.APPLIED})
    done = broken_off(mesh, tmp_path, reached, kill_kernels, "--set=on_failure=revert")
    assert done.code == 5, done.output
    assert [done.outcomes[step] for step in (STRICT, EXCEPTION)] == ["taken back"] * 2
    assert mesh.request("GET").status_code == 200
    assert "No resources found" in policies(mesh)


def test_a_run_that_is_to_stop_prints_the_one_command_that_heals(mesh: Lab, tmp_path: Path) -> None:
    done = broken_off(
        mesh,
        tmp_path,
        (EXCEPTION, {StepOutcome.PLANNED}),
        lambda process: process.terminate(),
        "--set=on_failure=stop",
    )
    assert done.code == 143, done.output
    assert done.outcomes[STRICT] == "verified"
    lines = done.output.splitlines()
    said = lines.index("Not taken back: on_failure is stop. This takes it back:")
    assert mesh.request("GET").status_code == 502
    mesh.run("sh", "-c", lines[said + 1])
    mesh.until_answer("GET", 200, timeout=30, successes=3)
    assert "No resources found" in policies(mesh)


def test_a_run_that_stood_still_for_too_long_changes_nothing_once_another_has_begun(
    mesh: Lab, tmp_path: Path
) -> None:
    """All its processes are stopped, as by a machine that sleeps; its Lease expires meanwhile."""
    with ExitStack() as stack:

        def overtaken(process: subprocess.Popen[str]) -> None:
            runner = psutil.Process(process.pid)
            every = [runner, *runner.children(recursive=True)]
            for each in every:
                each.suspend()
            try:
                stack.enter_context(other_run(mesh, tmp_path).held())
            finally:
                for each in every:
                    each.resume()

        reached = (STRICT, {StepOutcome.APPLIED})
        done = broken_off(mesh, tmp_path / "runs", reached, overtaken, "--set=timeouts.lease=2")
    assert done.outcomes[EXCEPTION] == "refused", done.output
    said = "lost the cluster to another while it stood still: run other-run of somebody@elsewhere"
    assert said in done.output
    assert "xnat" not in policies(mesh)


def test_a_run_begins_only_while_no_other_one_is_at_work(mesh: Lab, tmp_path: Path) -> None:
    with other_run(mesh, tmp_path).held():
        refused = run(mesh, tmp_path / "runs", "--only", TLS)
        assert refused.code == 9, refused.output
        assert "another run is changing this cluster: run other-run of" in refused.output
    assert refused.outcomes == {STRICT: "refused", EXCEPTION: "not run", ASKED: "not run"}
    assert "No resources found" in policies(mesh)
