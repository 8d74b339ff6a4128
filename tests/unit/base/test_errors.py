from __future__ import annotations

import inspect

import pytest
from IPython.core.interactiveshell import InteractiveShell

from runbook_lib.base import errors
from runbook_lib.base.errors import CommandError, KindNotInstalled, RunbookError, WaitTimeout, tail

SUBCLASSES = [
    item
    for _, item in inspect.getmembers(errors, inspect.isclass)
    if issubclass(item, RunbookError)
]


def test_the_message_is_cause_then_remedy() -> None:
    error = RunbookError("the lab is down", "start it")
    assert str(error) == "the lab is down\n→ start it"
    assert (error.cause, error.remedy) == ("the lab is down", "start it")


def test_without_a_remedy_the_message_is_the_cause() -> None:
    assert str(RunbookError("the lab is down")) == "the lab is down"


@pytest.mark.parametrize("kind", SUBCLASSES, ids=lambda kind: kind.__name__)
def test_every_error_says_in_its_docstring_when_it_happens(kind: type[RunbookError]) -> None:
    assert kind.__doc__
    assert kind.__doc__ != RunbookError.__doc__ or kind is RunbookError


def test_a_notebook_shows_the_message_without_a_stack(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell.instance()
    try:
        shell.run_cell(  # type: ignore[no-untyped-call]
            "from runbook_lib.base.errors import NotApproved\n"
            "raise NotApproved('istiod: not approved', 'press Approve')"
        )
    finally:
        InteractiveShell.clear_instance()
    shown = capsys.readouterr().out
    assert "NotApproved: istiod: not approved\n→ press Approve" in shown
    assert "Traceback" not in shown
    assert "run_cell" not in shown


def test_a_failed_command_shows_its_line_and_the_ends_of_both_streams() -> None:
    error = CommandError(["helm", "get x"], 1, "out\n" * 100, "boom")
    assert error.cause.startswith("exit code 1: helm 'get x'\nstderr: boom\nstdout: out\n")
    assert len(error.stdout.splitlines()) == 20


def test_secrets_in_streams_do_not_reach_the_message() -> None:
    error = CommandError(["x"], 1, "", "Authorization: Bearer abcdefghijk")
    assert "abcdefghijk" not in str(error) + error.stderr


def test_a_timeout_shows_what_was_awaited_and_the_last_state() -> None:
    error = WaitTimeout("istiod", "0/1 ready", 12.34)
    assert str(error) == "waiting for istiod: timed out after 12.3 s; last seen: 0/1 ready"


def test_the_remedy_for_a_missing_kind_depends_on_whose_kind_it_is() -> None:
    assert "istio-base" in KindNotInstalled("security.istio.io/v1", "PeerAuthentication").remedy
    assert "istio-base" not in KindNotInstalled("v1", "Potato").remedy


def test_the_tail_of_a_long_line_is_marked_as_cut() -> None:
    assert tail("x" * 10, characters=4) == "…xxxx"
    assert tail("a\nb\nc\n", lines=2) == "b\nc"


def test_a_missing_kind_of_istio_names_the_notebook_that_installs_it() -> None:
    error = KindNotInstalled("security.istio.io/v1", "PeerAuthentication")
    assert "01_install_istio" in error.remedy
    assert "01_install_istio" not in KindNotInstalled("example.com/v1", "X").remedy
