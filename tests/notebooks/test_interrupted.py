"""However and whenever a run is killed, running again ends in the state of one that was not.

The undisturbed way comes first, and goes back by the notebook of the rollback.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import snapshot
from tests.chapters import parameters_for, take_chapter
from tests.labs import Lab
from tests.notebooks import kills
from tests.notebooks.headless import CHAPTERS, back, nbval, run

KILLS = int(os.environ.get("RUNBOOK_KILLS", "2"))
"""How often a run is killed; `make test-kills` asks for more."""

SEED = int(os.environ.get("RUNBOOK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
"""Decides when and how; it is printed, so that a failure can be repeated."""

CHAIN = 5
"""Kills one after the other before a run may end."""

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(240 + 300 * KILLS),
]


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, str]:
    """What the fresh lab held."""
    return snapshot.of(lab)


@dataclass(frozen=True)
class Whole:
    """All chapters, taken without a disturbance.

    Attributes:
        seconds: How long it took.
        state: What the lab held at the end.
    """

    seconds: float
    state: dict[str, str]


@pytest.fixture(scope="module")
def whole(lab: Lab, before: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """All chapters on the fresh lab."""
    assert before
    started = time.monotonic()
    for chapter in CHAPTERS:
        take_chapter(parameters_for(lab), chapter, tmp_path_factory.mktemp(chapter))
    return Whole(time.monotonic() - started, snapshot.of(lab))


def test_the_rollback_gives_its_stored_outputs_and_leaves_nothing_where_asked(
    lab: Lab, before: dict[str, str], whole: Whole, tmp_path: Path
) -> None:
    assert whole.state != before
    undone = nbval(lab, "90_rollback", tmp_path)
    assert undone.returncode == 0, undone.stdout
    # It leaves the kinds, unless asked; without them the cluster is what it was before all this.
    done = back(lab, tmp_path, "00_start_here")
    assert done.code == 0, done.output
    assert snapshot.difference(before, snapshot.of(lab)) == ""


def test_a_killed_run_goes_on_to_the_same_end(
    lab: Lab,
    before: dict[str, str],
    whole: Whole,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", end="", flush=True)

    say(f"RUNBOOK_SEED={SEED} RUNBOOK_KILLS={KILLS}")
    chance = random.Random(SEED)
    started = time.monotonic()
    killed: list[kills.Killed] = []
    for chain in itertools.count():
        output, taken_back = tmp_path / f"chain-{chain}", tmp_path / f"back-{chain}"
        output.mkdir()
        here: list[kills.Killed] = []
        while len(here) < min(CHAIN, KILLS - len(killed)):
            kill = kills.choose(chance, first=not here, seconds=whole.seconds)
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
        assert snapshot.difference(whole.state, snapshot.of(lab)) == "", f"seed {SEED}: {here}"
        say(f"  {len(killed)} of {KILLS}: the same state as without")
        if len(killed) == KILLS:
            break
        # The next kills are to find the lab as these have found it.
        everything = parameters_for(lab, rollback={"kinds": True})
        take_chapter(everything, "90_rollback", taken_back)
        assert snapshot.difference(before, snapshot.of(lab)) == "", f"seed {SEED}: {here}"
    say(f"{time.monotonic() - started:.0f} s in all; undisturbed: {whole.seconds:.0f} s")
