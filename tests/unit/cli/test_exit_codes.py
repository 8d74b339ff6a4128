"""Each exit code has a test that sees a real process end with it."""

from __future__ import annotations

import ast

import pytest

from runbook_lib.base import ExitCode
from runbook_lib.base.locations import repository_root

PROVED = {
    ExitCode.DONE: ("notebooks/test_headless", "the_first_run_verifies_every_step"),
    ExitCode.FAILED: ("unit/cli/test_refusals", "a_full_disk_is_a_message_with_a_remedy"),
    ExitCode.BAD_INPUT: (
        "unit/cli/test_refusals",
        "bad_input_ends_with_exit_code_2_and_a_message",
    ),
    ExitCode.NOT_APPROVED: ("notebooks/test_headless", "without_approval_nothing_changes"),
    ExitCode.REFUSED: (
        "notebooks/test_headless",
        "a_field_that_others_manage_is_shown_and_not_taken",
    ),
    ExitCode.TAKEN_BACK: (
        "notebooks/test_reverting",
        "a_kernel_that_is_killed_while_the_exception_is_applied_takes_both_back",
    ),
    ExitCode.DRIFT: (
        "notebooks/test_headless",
        "a_field_that_others_manage_is_shown_and_not_taken",
    ),
    ExitCode.PENDING: (
        "notebooks/test_headless",
        "changes_that_are_pending_have_an_exit_code_of_their_own",
    ),
    ExitCode.INTERRUPTED: (
        "notebooks/test_headless",
        "a_kernel_that_is_killed_in_mid_change_leaves_an_unknown_state",
    ),
    ExitCode.BUSY: (
        "notebooks/test_reverting",
        "a_run_begins_only_while_no_other_one_is_at_work",
    ),
    ExitCode.EVIDENCE: (
        "unit/cli/test_output",
        "evidence_that_is_not_whole_ends_the_process_with_10",
    ),
    ExitCode.SIGHUP: ("notebooks/test_headless", "a_signal_leaves_every_artefact"),
    ExitCode.SIGINT: ("notebooks/test_headless", "a_signal_leaves_every_artefact"),
    ExitCode.SIGTERM: ("notebooks/test_headless", "a_signal_leaves_every_artefact"),
}
"""The module under tests/ and the name of the test in it."""


@pytest.mark.parametrize("code", ExitCode)
def test_a_test_sees_a_process_end_with_it(code: ExitCode) -> None:
    module, name = PROVED[code]
    source = (repository_root() / "tests" / f"{module}.py").read_text()
    (test,) = (
        each
        for each in ast.parse(source).body
        if isinstance(each, ast.FunctionDef) and each.name == f"test_{name}"
    )
    about = ast.unparse(test)
    assert f" {int(code)}" in about or f"({int(code)}" in about or f"ExitCode.{code.name}" in about
