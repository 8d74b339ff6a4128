"""A run is shown as it happens, a line a step, and ends with what came of it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from runbook_lib.base import journal
from runbook_lib.base.journal import Event
from runbook_lib.headless import progress
from runbook_lib.headless.run import Failure, Result
from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.events import ByHand, StepPlanned, Waiting
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.record import StepRecord
from tests.unit.events import (
    APPLYING,
    APPROVED,
    AT,
    LEFT,
    TAKEN_BACK,
    applied,
    applying,
    failed,
    planned,
    started,
    verified,
)


def step(outcome: StepOutcome, *changed: str, plan: StepPlanned | None = None) -> StepRecord:
    name = "mutual-tls-strict"
    return StepRecord("04_mutual_tls", name, outcome, plan, applied=applied(*changed, seconds=1.5))


VERIFIED = step(StepOutcome.VERIFIED, "create X")
UNCHANGED = step(StepOutcome.VERIFIED)


def text_console() -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, width=120, highlight=False), written


def test_every_notebook_and_step_gets_a_line_while_the_run_goes_on(tmp_path: Path) -> None:
    console, written = text_console()
    journal = runs.open_journal(tmp_path, "04_mutual_tls")
    with progress.follow(tmp_path, 3, console):
        journal.record(started())
        strict = journal.of_step("mutual-tls-strict")
        strict.record(planned("X"))
        strict.record(Waiting("GET 200 [not yet]"))
        strict.record(applied("create X"))
        strict.record(verified())
        exception = journal.of_step("mutual-tls-exception")
        exception.record(planned())
        exception.record(verified())
        journal.of_step("third").record(failed("WaitTimeout"))
    assert written.getvalue().splitlines() == [
        "04_mutual_tls",
        "  ✓ mutual-tls-strict: verified; create X",
        "  ✓ mutual-tls-exception: verified; nothing to change",
        "  ✗ third: apply failed: WaitTimeout",
    ]


class Watched:
    """A run whose output goes to a file, and whose clock is set by hand."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.console, self._written = text_console()
        bar = Progress(console=self.console, disable=True)
        self._view = progress.View(self.console, bar, 1, clock=lambda: self.now)
        self._tail = journal.Tail(folder / runs.EVIDENCE)
        self._step = runs.open_journal(folder, "04").of_step("strict")

    def after(self, seconds: float, *events: Event) -> list[str]:
        """Let time pass with a look every second, then record; returns what was written."""
        self._written.seek(0)
        self._written.truncate()
        for _ in range(round(seconds)):
            self.now += 1
            self._view.show(self._tail.new())
            self._view.show_alive()
        for event in events:
            self._step.record(event)
        return self._written.getvalue().splitlines()


def test_a_file_hears_of_each_awaited_state_that_lasts_and_then_once_a_minute(
    tmp_path: Path,
) -> None:
    run = Watched(tmp_path)
    run.after(0, planned("X"), APPROVED, APPLYING, Waiting("0 of 2 pods are ready"))
    assert run.after(6) == ["  … strict: 0 of 2 pods are ready"]
    assert run.after(50, Waiting("1 of 2 pods is ready")) == []
    assert run.after(3, Waiting("2 of 2 pods are ready")) == ["  … strict: 1 of 2 pods is ready"]
    assert run.after(121) == [
        "  … strict: 2 of 2 pods are ready",
        "  … strict: 2 of 2 pods are ready (for 62 s now)",
    ]


def test_what_is_over_in_a_moment_makes_no_lines(tmp_path: Path) -> None:
    run = Watched(tmp_path)
    for number in range(20):
        assert run.after(0, Waiting(f"answer {number}")) == []
    assert run.after(3, applied("create X"), verified()) == []
    assert run.after(1) == ["  ✓ strict: verified; create X"]
    assert run.after(61) == ["  … 04 (for 60 s now)"], "a plan can take long, too"


def test_what_a_person_has_to_do_is_shown_in_full(tmp_path: Path) -> None:
    console, written = text_console()
    what = (
        "have Cluster xnat/db restart its pods: kubectl annotate clusters db [now]" + " more" * 20
    )
    with progress.follow(tmp_path, 1, console):
        runs.open_journal(tmp_path, "n").of_step("s").record(ByHand(what))
    assert " ".join(written.getvalue().split()) == f"… s: {what}"


def test_plans_get_a_line_in_plan_mode(tmp_path: Path) -> None:
    console, written = text_console()
    with progress.follow(tmp_path, 1, console):
        plan = planned("X [sic]", plan_only=True)
        runs.open_journal(tmp_path, "n").of_step("s").record(plan)
    assert written.getvalue() == "  ○ s: create X [sic]\n"


@pytest.mark.parametrize("outcome", [StepOutcome.NOT_APPROVED, StepOutcome.REFUSED])
def test_what_was_not_allowed_has_not_failed(tmp_path: Path, outcome: StepOutcome) -> None:
    console, written = text_console()
    with progress.follow(tmp_path, 1, console):
        runs.open_journal(tmp_path, "n").of_step("s").record(failed("Why", outcome, "plan"))
    assert written.getvalue() == f"  ! s: {outcome}: Why\n"


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        ((), "  ? s: interrupted while applying: state unknown, run again\n"),
        ((applied("create X"),), "  ● s: applied, not verified\n"),
    ],
)
def test_a_run_that_breaks_off_says_where(
    tmp_path: Path, reached: tuple[Event, ...], said: str
) -> None:
    console, written = text_console()
    with progress.follow(tmp_path, 1, console):
        for event in (planned("X"), APPROVED, APPLYING, *reached):
            runs.open_journal(tmp_path, "n").of_step("s").record(event)
        assert written.getvalue() == ""
    assert written.getvalue() == said


def table_text(result: Result) -> str:
    console, written = text_console()
    console.print(progress.summary_table(result))
    return written.getvalue()


def test_the_summary_names_every_step_in_full_on_a_narrow_screen() -> None:
    written = io.StringIO()
    Console(file=written, width=60).print(
        progress.summary_table(Result(Path("runs/x"), "apply", (VERIFIED,), None))
    )
    assert "04_mutual_tls  mutual-tls-strict  verified" in written.getvalue()


def test_the_summary_tells_changes_from_none() -> None:
    assert "1 change " in table_text(Result(Path("x"), "apply", (VERIFIED,), None))
    assert "nothing " in table_text(Result(Path("x"), "apply", (UNCHANGED,), None))


def test_a_run_that_changed_nothing_says_so() -> None:
    text = progress.conclusion(Result(Path("x"), "apply", (UNCHANGED, UNCHANGED), None))
    assert text == "All 2 steps verified, 0 changed: everything was in place."
    text = progress.conclusion(Result(Path("x"), "apply", (UNCHANGED, VERIFIED), None))
    assert text == "All 2 steps verified, 1 changed."


def test_a_failure_names_cause_notebook_cell_and_the_executed_copy() -> None:
    failure = Failure(
        "04_mutual_tls",
        "verify-first-step",
        "VerificationFailed",
        "GET 200, expected 502\n→ look at the policies",
        Path("runs/x/04_mutual_tls.ipynb"),
    )
    assert progress.conclusion(Result(Path("runs/x"), "apply", (), failure)).splitlines() == [
        "Stopped in 04_mutual_tls, cell verify-first-step: VerificationFailed",
        "  GET 200, expected 502",
        "  → look at the policies",
        "See the cell in runs/x/04_mutual_tls.ipynb",
    ]


def test_a_kernel_that_died_has_no_cell_to_blame() -> None:
    failure = Failure("04_mutual_tls", "", "DeadKernelError", "Kernel died", Path("x.ipynb"))
    text = progress.conclusion(Result(Path("x"), "apply", (), failure))
    assert text.startswith("Stopped in 04_mutual_tls: DeadKernelError\n  Kernel died\n")


def test_plan_mode_says_that_nothing_was_changed_and_what_is_pending() -> None:
    in_place, to_do = (step(StepOutcome.PLANNED, plan=plan) for plan in (planned(), planned("X")))
    assert progress.conclusion(Result(Path("x"), "plan", (in_place,))) == (
        "Plan mode: nothing was changed."
    )
    assert progress.conclusion(Result(Path("x"), "plan", (in_place, to_do))) == (
        "Plan mode: nothing was changed. 1 of 2 steps have changes pending."
    )


def test_the_summary_says_that_an_interrupted_step_may_have_changed_anything() -> None:
    broken = StepRecord("04_mutual_tls", "strict", StepOutcome.INTERRUPTED, changing_since=AT)
    text = table_text(Result(Path("x"), "apply", (broken,)))
    assert "strict  interrupted  unknown" in text


def test_what_became_of_a_failed_change_gets_a_line_of_its_own(tmp_path: Path) -> None:
    console, written = text_console()
    with progress.follow(tmp_path, 1, console):
        step = runs.open_journal(tmp_path, "n").of_step("s")
        for event in (planned("X"), APPROVED, applying(), failed(), LEFT, TAKEN_BACK):
            step.record(event)
    assert written.getvalue().splitlines() == [
        "  ✗ s: apply failed: WaitTimeout",
        "  ✗ s: not taken back: others have changed Thing a/b since",
        "  ↶ s: taken back: Thing a/b (there was none)",
    ]
    (back,) = runs.record_of(tmp_path).steps
    assert progress.changed_text(back) == "nothing"
