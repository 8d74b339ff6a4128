"""A run is shown as it happens, a line a step, and ends with what came of it."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from runbook_lib.headless import progress
from runbook_lib.headless.run import Failure, Result, StepResult
from runbook_lib.lifecycle import runs

VERIFIED = StepResult("04_mutual_tls", "mutual-tls-strict", "verified", ("create X",), 1.5)
UNCHANGED = StepResult("04_mutual_tls", "mutual-tls-strict", "verified")


def text_console() -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, width=120, highlight=False), written


def test_every_notebook_and_step_gets_a_line_while_the_run_goes_on(tmp_path: Path) -> None:
    console, written = text_console()
    evidence = runs.open_evidence(tmp_path, "04_mutual_tls")
    with progress.follow(tmp_path, 3, console):
        evidence.record("notebook-started")
        step = evidence.bind(step="mutual-tls-strict")
        step.record("step-planned", plan_only=False)
        step.record("waiting", state="GET 200 [not yet]")
        step.record("step-verified", changed=["create X"])
        other = evidence.bind(step="mutual-tls-exception")
        other.record("step-verified", changed=[])
        evidence.bind(step="third").record("step-failed", phase="apply", error="WaitTimeout")
    assert written.getvalue().splitlines() == [
        "04_mutual_tls",
        "  ✓ mutual-tls-strict: verified; create X",
        "  ✓ mutual-tls-exception: verified; nothing to change",
        "  ✗ third: apply failed: WaitTimeout",
    ]


def test_plans_get_a_line_in_plan_mode(tmp_path: Path) -> None:
    console, written = text_console()
    with progress.follow(tmp_path, 1, console):
        runs.open_evidence(tmp_path, "n").bind(step="s").record(
            "step-planned", plan_only=True, summary="create X [sic]"
        )
    assert written.getvalue() == "  ○ s: create X [sic]\n"


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


def test_plan_mode_says_that_nothing_was_changed() -> None:
    planned = StepResult("n", "s", "planned")
    assert progress.conclusion(Result(Path("x"), "plan", (planned,), None)) == (
        "Plan mode: nothing was changed."
    )
