"""Measure everything that is meant to be fast, and write a table of it.

Usage: python benchmarks/benchmark.py [--pairs 3] [--output FOLDER] [--cold]

The headless run up to 05 is measured against a plain shell script of the same steps: each pair
brings up two fresh labs one after the other and runs the notebooks on one and benchmarks/plain.sh
on the other, in turn, so that a machine whose speed drifts slows both. Then, on one more lab, the
whole runbook runs, runs again, plans, and diagnoses. A lab's own start is timed apart. `--cold`
also times a build of the lab's binaries with an empty build cache (about ten minutes on two cores).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import measuring, writing  # noqa: E402
from benchmarks.writing import Figure, Results  # noqa: E402
from runbook_lib import chapters  # noqa: E402
from runbook_lib.headless import report  # noqa: E402
from runbook_lib.lab.build.binaries import ensure_build  # noqa: E402
from runbook_lib.lifecycle import runs  # noqa: E402

NOT_IN_THE_SCRIPT = ("06_kiali", "07_troubleshoot")
IN_THE_SCRIPT = tuple(
    word
    for name in chapters.regular()
    if name not in NOT_IN_THE_SCRIPT
    for word in ("--notebook", name)
)
"""What the script does as well."""

_DIAGNOSES = 3


def pairs(count: int, results: Results) -> None:
    """Run the notebooks and the script in turn, each on a fresh lab."""
    ours, theirs, ready, memory = [], [], [], []
    for number in range(count):
        with measuring.fresh_lab() as (state, seconds):
            ready.append(seconds)
            ours.append(measuring.notebooks(state, *IN_THE_SCRIPT))
            programs = measuring.lab_memory(state)
            memory.append(sum(programs.values()))
            results.memory = programs
        with measuring.fresh_lab() as (state, seconds):
            ready.append(seconds)
            theirs.append(measuring.script(state))
        print(f"pair {number + 1}: {ours[-1].seconds:.1f} s against {theirs[-1].seconds:.1f} s")
    ratios = tuple(a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True))
    results.figures |= {
        "notebooks up to 05": Figure(tuple(each.seconds for each in ours)),
        "shell script of the same": Figure(tuple(each.seconds for each in theirs)),
        "ratio, pair by pair": Figure(ratios, "", aim=1.0),
        "notebooks, peak memory": Figure(tuple(each.peak for each in ours), "MiB"),
        "script, peak memory": Figure(tuple(each.peak for each in theirs), "MiB"),
        "lab ready": Figure(tuple(ready), aim=4.0),
        "lab memory after 05": Figure(tuple(memory), "MiB", aim=1100),
    }


def whole(results: Results) -> None:
    """Run everything on one lab, then what is done again and again."""
    with measuring.fresh_lab() as (state, _):
        first = measuring.notebooks(state)
        again = measuring.notebooks(state)
        plan = measuring.notebooks(state, "--plan")
        diagnoses = [measuring.runbook(state, "diagnose") for _ in range(_DIAGNOSES)]
    results.chart = report.bars(runs.record_of(first.folder))
    results.figures |= {
        "full run of everything": Figure((first.seconds,)),
        "rerun that changes nothing": Figure((again.seconds,), aim=8.0),
        "plan of everything": Figure((plan.seconds,), aim=5.0),
        "diagnosis": Figure(tuple(each.seconds for each in diagnoses)),
    }


def cold_build(results: Results) -> None:
    """Build the binaries into an empty cache, modules already downloaded or not."""
    with tempfile.TemporaryDirectory(prefix="benchmark-cache-") as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        started = time.monotonic()
        ensure_build(lambda phase, done, total: print(f"\r{phase} {done}/{total}  ", end=""))
        print()
        del os.environ["XDG_CACHE_HOME"]
    results.figures["cold build"] = Figure((time.monotonic() - started,))


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "benchmark")
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    measuring.binaries()
    results = Results(writing.machine())
    pairs(options.pairs, results)
    whole(results)
    if options.cold:
        cold_build(results)
    print(writing.write(results, options.output))
    print(f"Written to {options.output}")


if __name__ == "__main__":
    main()
