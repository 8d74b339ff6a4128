"""Kill a run at a moment that chance chooses, and see what it leaves."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from runbook_lib.base import Entry, journal
from runbook_lib.base.wait import State, until
from runbook_lib.lifecycle import runs
from tests.labs import Lab
from tests.notebooks.headless import CHAPTERS, LIMIT, start

ALL = [option for name in CHAPTERS for option in ("--only", name)]
"""Options for a run of all notebooks that change something."""

Victim = Literal["all", "notebook", "runner", "Ctrl-C", "TERM"]
"""Who is hit:

- `all`: the run, its kernels and the commands that they run, Helm among them, with SIGKILL.
- `notebook`: the run and its kernels; a Helm at work ends by itself.
- `runner`: the run alone; its kernels find out by themselves.
- `Ctrl-C` and `TERM`: the signal to the run alone, which then ends the rest.
"""

_EVENTS = ("step-planned", "step-applied", "step-verified", "notebook-started", "waiting")


@dataclass(frozen=True)
class Kill:
    """When to kill a run, and whom.

    Attributes:
        victim: Whom.
        event: The evidence to wait for; `helm` for a Helm that changes something, empty for none.
        count: Its how-manieth occurrence.
        delay: Seconds after it; after the start if there is no event.
    """

    victim: Victim
    event: str
    count: int
    delay: float

    def __str__(self) -> str:
        moment = f"{self.event} number {self.count}" if self.event else "the start"
        return f"{self.victim} {self.delay:.2f} s after {moment}"


@dataclass(frozen=True)
class Killed:
    """What came of a kill.

    Attributes:
        kill: What was planned.
        hit: Whether the run was still at work.
        reached: The last step and event of its evidence.
        helm: Whether a Helm that changes something was at work.
    """

    kill: Kill
    hit: bool
    reached: str
    helm: bool


def choose(chance: random.Random, *, first: bool, seconds: float) -> Kill:
    """Choose a moment: mostly in the middle of a change, sometimes anywhere.

    Args:
        chance: Where chance comes from.
        first: The first kill of a lab, when Helm has most to do.
        seconds: What a whole run takes.
    """
    victim: Victim = chance.choice(["all", "all", "notebook", "runner", "Ctrl-C", "TERM"])
    dice = chance.random()
    if first:
        victim = "all" if chance.random() < 0.7 else victim
        return Kill(victim, "helm", chance.randint(1, 2), chance.uniform(0, 1.5))
    if dice < 0.6:
        return Kill(victim, "step-applying", chance.randint(1, 2), chance.uniform(0, 1))
    if dice < 0.85:
        return Kill(victim, chance.choice(_EVENTS), chance.randint(1, 4), chance.uniform(0, 0.3))
    return Kill(victim, "", 0, chance.uniform(0.5, seconds / 2))


def kill_a_run(lab: Lab, output: Path, kill: Kill) -> Killed:
    """Start a run and kill it at that moment, unless it ends before."""
    before = set(output.glob("*"))
    log = output.parent / "killed.log"
    with log.open("w") as stream, start(lab, output, stream, *ALL) as process:
        try:
            _reach(process, output, before, kill)
            hit = process.poll() is None
            family = _family(process) if hit else []
            helm = any(_is_changing(each) for each in family)
            if hit:
                _strike(process, family, kill.victim)
        finally:
            if process.poll() is None and kill.victim not in ("Ctrl-C", "TERM"):
                process.kill()
            process.wait(LIMIT)
    codes = {"Ctrl-C": (130,), "TERM": (143,)}.get(kill.victim, (-signal.SIGKILL,))
    assert not hit or process.returncode in codes, f"{kill}: {log.read_text()}"
    # However it was hit, nothing of it goes on: neither kernels nor the commands that they ran.
    _wait_until_gone(family)
    folders = set(output.glob("*")) - before
    entries = [entry for folder in folders for entry in _entries(folder)]
    last = entries[-1] if entries else None
    reached = f"{last.step or last.notebook} {last.event.name}" if last else "nothing"
    return Killed(kill, hit, reached, helm)


def _reach(process: subprocess.Popen[str], output: Path, before: set[Path], kill: Kill) -> None:
    """Wait for the moment, or for the end of the run."""
    helms: set[int] = set()

    def occurred() -> int:
        if kill.event == "helm":
            helms.update(each.pid for each in _family(process) if _is_changing(each))
            return len(helms)
        folders = set(output.glob("*")) - before
        entries = (entry for folder in folders for entry in _entries(folder))
        return sum(entry.event.name == kill.event for entry in entries)

    def observe() -> State:
        ended = process.poll() is not None
        return State(ended or not kill.event or occurred() >= kill.count, "the run goes on")

    until(str(kill), observe, timeout=LIMIT, interval=0.02)
    # The delay is the point: it lets chance choose the moment.
    deadline = time.monotonic() + kill.delay
    until(
        "the moment",
        lambda: State(process.poll() is not None or time.monotonic() >= deadline, ""),
        timeout=kill.delay + 1,
        interval=0.02,
    )


def _entries(folder: Path) -> tuple[Entry, ...]:
    return journal.read(folder / runs.EVIDENCE).entries


def _strike(process: subprocess.Popen[str], family: list[psutil.Process], victim: Victim) -> None:
    if victim == "Ctrl-C":
        process.send_signal(signal.SIGINT)
        return
    if victim == "TERM":
        process.send_signal(signal.SIGTERM)
        return
    process.kill()
    for each in family:
        if victim == "all" or (victim == "notebook" and "ipykernel" in _words(each)):
            _kill(each)


def _family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _is_changing(process: psutil.Process) -> bool:
    words = _words(process).split()
    changes = {"upgrade", "rollback"}  # after the options that say which cluster
    return bool(words) and words[0].endswith("helm") and not changes.isdisjoint(words[1:])


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _wait_until_gone(family: list[psutil.Process]) -> None:
    def observe() -> State:
        left = [each for each in family if _is_there(each)]
        return State(not left, ", ".join(_words(each) or str(each.pid) for each in left))

    until("the processes of a killed run to end", observe, timeout=60)


def _is_there(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def facts(killed: Killed) -> dict[str, Any]:
    """What a table shows of a kill."""
    return {"kill": str(killed.kill), "reached": killed.reached, "Helm at work": killed.helm}
