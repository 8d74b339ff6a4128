"""What one phase took is counted for that phase, and for no other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runbook_lib.base import METER, CommandError, run
from runbook_lib.base.effort import Meter


def test_what_happens_in_a_phase_counts_for_its_step() -> None:
    meter = Meter()
    with meter.phase("plan", "strict"):
        meter.asked()
        meter.started("/somewhere/bin/helm")
    with meter.phase("apply", "strict"):
        meter.started("helm")
        meter.started("helm")
    plan, apply = meter.parts()
    assert (plan.phase, plan.step, plan.requests) == ("plan", "strict", 1)
    assert (plan.processes, apply.processes, apply.requests) == ({"helm": 1}, {"helm": 2}, 0)


def test_showing_a_result_counts_for_the_phase_that_it_is_of() -> None:
    meter = Meter()
    with meter.phase("plan", "strict"):
        meter.showed(10)
    meter.asked()
    meter.showed(300)
    (plan,) = meter.parts()
    assert (plan.phase, plan.shown_bytes, plan.requests) == ("plan", 310, 1)


def test_what_was_asked_before_a_phase_is_a_look() -> None:
    meter = Meter()
    meter.asked()
    with meter.phase("plan", "strict"):
        meter.asked()
    look, plan = meter.parts()
    assert (look.phase, look.step, look.requests) == ("look", "", 1)
    assert (plan.phase, plan.requests) == ("plan", 1)


def test_a_phase_that_fails_is_counted_as_well() -> None:
    meter = Meter()

    def fail() -> None:
        with meter.phase("apply", "strict"):
            meter.started("helm")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    (apply,) = meter.parts()
    assert (apply.phase, apply.processes) == ("apply", {"helm": 1})


def test_counting_begins_anew_after_a_look_at_it() -> None:
    meter = Meter()
    meter.asked()
    assert meter.parts()[0].requests == 1
    assert meter.parts()[0].requests == 0
    meter.asked()
    meter.begin()
    assert meter.parts()[0].requests == 0


def test_programs_count_with_their_cpu_time_whether_or_not_they_start(tmp_path: Path) -> None:
    METER.begin()
    run([sys.executable, "-c", "sum(range(3_000_000))"], timeout=50)
    with pytest.raises(CommandError):
        run([tmp_path / "missing"], timeout=5)
    (part,) = METER.parts()
    assert part.processes == {Path(sys.executable).name: 1, "missing": 1}
    assert part.cpu_seconds > 0
    assert part.seconds > 0
