"""Measure the headless run against a plain shell script of the same steps, side by side.

Usage: python benchmarks/compare.py [--pairs 3] [--cold]

Each pair brings up two fresh labs one after the other and runs the notebooks on one and
benchmarks/plain.sh on the other, in turn, so that a machine whose speed drifts slows both. A lab's
own start is timed apart, and its memory is read after the run. `--cold` also times a build of the
lab's binaries with an empty build cache (about ten minutes on two cores).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from runbook_lib import chapters  # noqa: E402
from runbook_lib.lab.build.binaries import ensure_build  # noqa: E402
from runbook_lib.lab.foundation.state import State, marked_processes  # noqa: E402
from runbook_lib.lab.supervision import lifecycle  # noqa: E402

NOT_IN_THE_SCRIPT = ("06_kiali", "07_troubleshoot")
CHAPTERS = [name for name in chapters.regular() if name not in NOT_IN_THE_SCRIPT]
"""What the script does as well."""

SAMPLE = 0.5
MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """One run of one command.

    Attributes:
        seconds: Wall clock.
        peak: Largest memory of the command and all its children at once, in MiB (PSS).
        lab: Memory of all the lab's processes afterwards, in MiB (PSS).
        up: Seconds from `lab up` to ready.
    """

    seconds: float
    peak: float
    lab: float
    up: float


def proportional(processes: list[psutil.Process]) -> float:
    """Their memory in MiB, shared pages counted once (PSS)."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / MIB


def run(argv: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Run a command to its end; returns seconds and peak memory of its tree in MiB."""
    peak = 0.0
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = psutil.Popen(argv, env=env, cwd=ROOT, stdout=output, stderr=output)
        ended = threading.Event()

        def sample() -> None:
            nonlocal peak
            while not ended.wait(SAMPLE):
                try:
                    tree = [process, *process.children(recursive=True)]
                except psutil.Error:
                    return
                peak = max(peak, proportional(tree))

        sampler = threading.Thread(target=sample)
        sampler.start()
        code = process.wait()
        seconds = time.monotonic() - started
        ended.set()
        sampler.join()
        if code:
            output.seek(0)
            raise SystemExit(f"{argv} ended with exit code {code}:\n{output.read()[-3000:]}")
    return seconds, peak


def notebooks(state: State) -> tuple[list[str], dict[str, str]]:
    """The headless run."""
    folder = tempfile.mkdtemp(prefix="benchmark-runs-")
    argv = [sys.executable, "-m", "runbook_lib", "run"]
    argv += ["--parameters", "parameters/lab.yaml", "--output", folder]
    argv += [word for name in CHAPTERS for word in ("--notebook", name)]
    return argv, {**os.environ, "RUNBOOK_LAB": state.name}


def shell(state: State) -> tuple[list[str], dict[str, str]]:
    """The plain script."""
    env = {
        **os.environ,
        "KUBECONFIG": state.kubeconfig,
        "CHARTS": str(Path(state.charts["base"]).parent),
        "URL": state.url,
        "PATH": f"{state.bin}{os.pathsep}{os.environ['PATH']}",
    }
    return ["bash", "benchmarks/plain.sh"], env


def measure(command: Callable[[State], tuple[list[str], dict[str, str]]]) -> Measured:
    """Run a command on a fresh lab."""
    name = f"bench-{os.getpid()}"
    started = time.monotonic()
    try:
        state = lifecycle.up(name, building=lambda *_: None, doing=lambda _: None)
        up = time.monotonic() - started
        seconds, peak = run(*command(state))
        return Measured(seconds, peak, proportional(list(marked_processes(name))), up)
    finally:
        lifecycle.down(name)


def cold_build() -> float:
    """Seconds to build the binaries into an empty cache, modules already downloaded or not."""
    with tempfile.TemporaryDirectory(prefix="benchmark-cache-") as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        started = time.monotonic()
        ensure_build(lambda phase, done, total: print(f"\r{phase} {done}/{total}  ", end=""))
        print()
        del os.environ["XDG_CACHE_HOME"]
        return time.monotonic() - started


def row(label: str, values: list[float], unit: str) -> None:
    """Print the minimum, median and maximum of a figure."""
    low, middle, high = min(values), statistics.median(values), max(values)
    print(f"{label:<34}{low:>9.2f}{middle:>9.2f}{high:>9.2f}  {unit}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    subprocess.run([sys.executable, "-m", "runbook_lib", "lab", "build"], cwd=ROOT, check=True)
    pairs = []
    for number in range(options.pairs):
        pairs.append((measure(notebooks), measure(shell)))
        print(
            f"pair {number + 1}: {pairs[-1][0].seconds:.1f} s against {pairs[-1][1].seconds:.1f} s"
        )
    print(f"{'':<34}{'min':>9}{'median':>9}{'max':>9}")
    row("notebooks, wall clock", [a.seconds for a, _ in pairs], "s")
    row("shell script, wall clock", [b.seconds for _, b in pairs], "s")
    row("ratio, pair by pair", [a.seconds / b.seconds for a, b in pairs], "")
    row("notebooks, peak memory", [a.peak for a, _ in pairs], "MiB")
    row("shell script, peak memory", [b.peak for _, b in pairs], "MiB")
    row("lab up to ready", [each.up for pair in pairs for each in pair], "s")
    row("lab memory after the run", [each.lab for pair in pairs for each in pair], "MiB")
    if options.cold:
        row("cold build", [cold_build()], "s")


if __name__ == "__main__":
    main()
