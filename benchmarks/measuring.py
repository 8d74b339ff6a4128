"""Run commands on labs and measure them: seconds, CPU seconds, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from runbook_lib.lab.foundation.state import State, marked_processes
from runbook_lib.lab.supervision import lifecycle

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
_SAMPLE = 0.5


@dataclass(frozen=True)
class Measured:
    """One command, run to its end.

    Attributes:
        seconds: Wall clock.
        peak: Largest memory of it and all its children at once, in MiB (PSS).
        folder: Where a run of the runbook left what it wrote.
    """

    seconds: float
    peak: float
    folder: Path


def run(argv: Sequence[str], env: dict[str, str], folder: Path) -> Measured:
    """Run a command to its end; one that fails ends the benchmark with what it said."""
    peak = 0.0
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = psutil.Popen(argv, env=env, cwd=ROOT, stdout=output, stderr=output)
        ended = threading.Event()

        def sample() -> None:
            nonlocal peak
            while not ended.wait(_SAMPLE):
                try:
                    tree = [process, *process.children(recursive=True)]
                except psutil.Error:
                    return
                peak = max(peak, sum(proportional(tree).values()))

        sampler = threading.Thread(target=sample)
        sampler.start()
        code = process.wait()
        seconds = time.monotonic() - started
        ended.set()
        sampler.join()
        if code:
            output.seek(0)
            raise SystemExit(f"{argv} ended with exit code {code}:\n{output.read()[-3000:]}")
    return Measured(seconds, peak, folder)


def runbook(state: State, *arguments: str) -> Measured:
    """Run one of the runbook's commands on a lab."""
    argv = [sys.executable, "-m", "runbook_lib", *arguments]
    return run(argv, {**os.environ, "RUNBOOK_LAB": state.name}, ROOT)


def notebooks(state: State, *options: str) -> Measured:
    """Run the notebooks headless on a lab."""
    root = Path(tempfile.mkdtemp(prefix="benchmark-runs-"))
    command = ("run", "--parameters", "parameters/lab.yaml", "--output", str(root), *options)
    measured = runbook(state, *command)
    (folder,) = root.iterdir()
    return Measured(measured.seconds, measured.peak, folder)


def script(state: State) -> Measured:
    """Run the plain script on a lab."""
    env = {
        **os.environ,
        "KUBECONFIG": state.kubeconfig,
        "CHARTS": str(Path(state.charts["base"]).parent),
        "URL": state.url,
        "PATH": f"{state.bin}{os.pathsep}{os.environ['PATH']}",
    }
    return run(["bash", "benchmarks/plain.sh"], env, ROOT)


@contextmanager
def fresh_lab() -> Iterator[tuple[State, float]]:
    """A lab of its own, and the seconds until it was ready; taken down at the end."""
    name = f"bench-{os.getpid()}"
    started = time.monotonic()
    try:
        state = lifecycle.up(name, building=lambda *_: None, doing=lambda _: None)
        yield state, time.monotonic() - started
    finally:
        lifecycle.down(name)


def lab_memory(state: State) -> dict[str, float]:
    """Memory of a lab's processes by program, in MiB."""
    return proportional(marked_processes(state.name))


def proportional(processes: Iterable[psutil.Process]) -> dict[str, float]:
    """Memory of processes by program in MiB, shared pages counted once (PSS)."""
    total: dict[str, float] = defaultdict(float)
    for process in processes:
        try:
            total[process.name()] += process.memory_full_info().pss / MIB
        except psutil.Error:
            continue
    return total


def binaries() -> None:
    """Build what the lab needs, where that has not been done."""
    argv = [sys.executable, "-m", "runbook_lib", "lab", "build"]
    subprocess.run(argv, cwd=ROOT, check=True)
