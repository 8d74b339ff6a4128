"""However and whenever a run is killed, running again ends in the state of one that was not."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import snapshot
from tests.labs import Lab, stop_lab
from tests.notebooks import kills
from tests.notebooks.headless import run

KILLS = int(os.environ.get("RUNBOOK_KILLS", "2"))
"""How often a run is killed; `make test-kills` asks for more."""

SEED = int(os.environ.get("RUNBOOK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
"""Decides when and how; it is printed, so that a failure can be repeated."""

CHAIN = 5
"""Kills on one lab before a run may end there."""

pytestmark = [pytest.mark.lab, pytest.mark.notebooks, pytest.mark.timeout(240 + 300 * KILLS)]


def test_a_killed_run_goes_on_to_the_same_end(
    make_lab: Callable[[str], Lab], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", end="", flush=True)

    say(f"RUNBOOK_SEED={SEED} RUNBOOK_KILLS={KILLS}")
    chance = random.Random(SEED)
    lab = make_lab("whole")
    started = time.monotonic()
    whole = run(lab, tmp_path / "whole", *kills.ALL)
    assert whole.code == 0, whole.output
    seconds = time.monotonic() - started
    expected = snapshot.of(lab)
    stop_lab(lab.name)
    killed: list[kills.Killed] = []
    labs = itertools.count()
    while len(killed) < KILLS:
        name = f"kills-{next(labs)}"  # another one, too, where a run had ended before its kill
        lab, output = make_lab(name), tmp_path / name / "runs"
        output.mkdir(parents=True)
        here: list[kills.Killed] = []
        while len(here) < min(CHAIN, KILLS - len(killed)):
            kill = kills.choose(chance, first=not here, seconds=seconds)
            came = kills.kill_a_run(lab, output, kill)
            if not came.hit:
                say(f"  -: the run had ended before {kill}")
                break
            here.append(came)
            helm = ", a Helm at work" if came.helm else ""
            say(f"  {len(killed) + len(here)}: {kill}; reached: {came.reached}{helm}")
        killed += here
        last = run(lab, output, *kills.ALL)
        assert last.code == 0, last.output
        assert set(last.outcomes.values()) == {"verified"}
        assert snapshot.difference(expected, snapshot.of(lab)) == "", f"seed {SEED}: {here}"
        say(f"  {len(killed)} of {KILLS}: the same state as without")
        stop_lab(lab.name)
    say(f"{time.monotonic() - started:.0f} s in all; an undisturbed run: {seconds:.0f} s")
