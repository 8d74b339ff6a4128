"""What the operator says about a Kiali resource: done, at work, failed, or of something older."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.chapters.kiali import status as kiali_status

FAILED = "Invalid auth.strategy [tokn]! Must be one of either 'token' or 'openid'"


Condition = dict[str, Any]


def condition(kind: str, status: str, message: str = "", reason: str = "") -> Condition:
    return {
        "type": kind,
        "status": status,
        "reason": reason or kind,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def resource(*conditions: Condition, progress: str = "") -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": list(conditions)}
    if progress:
        status["progress"] = {"message": progress, "duration": "0:00:03"}
    return {"kind": "Kiali", "status": status}


RUNNING = (condition("Running", "True", "Running reconciliation"),)
DONE = (
    condition("Running", "True", "Awaiting next reconciliation", "Successful"),
    condition("Successful", "True", "Last reconciliation succeeded"),
    condition("Failure", "False"),
)
BROKEN = (condition("Running", "False"), condition("Failure", "True", FAILED))


def test_a_success_is_the_end() -> None:
    found = kiali_status.state(resource(*DONE))
    assert (found.done, found.failed) == (True, False)


def test_a_failure_is_the_end_in_the_operators_own_words() -> None:
    found = kiali_status.state(resource(*BROKEN))
    assert (found.done, found.failed) == (False, True)
    assert FAILED in found.text


def test_at_work_it_says_what_it_does() -> None:
    found = kiali_status.state(resource(*RUNNING, progress="4. Creating core resources"))
    assert (found.done, found.failed) == (False, False)
    assert found.text == "4. Creating core resources"


def test_an_earlier_failure_stays_while_the_next_run_is_at_work() -> None:
    """The operator leaves the condition as it was until the run ends."""
    found = kiali_status.state(resource(*RUNNING, BROKEN[1]), before=list(BROKEN))
    assert (found.done, found.failed) == (False, False)
    assert found.text == "at work"
    assert kiali_status.has_failed(resource(*RUNNING, BROKEN[1]))
    assert not kiali_status.has_failed(resource(*DONE))


def test_between_runs_the_operator_is_not_at_work() -> None:
    assert kiali_status.at_work(resource(*RUNNING))
    assert not kiali_status.at_work(resource(*DONE))
    assert not kiali_status.at_work(resource(*BROKEN))


@pytest.mark.parametrize("unseen", [None, {}, {"status": {}}, {"status": {"conditions": []}}])
def test_without_an_operator_there_is_nothing_to_rely_on(unseen: dict[str, Any] | None) -> None:
    found = kiali_status.state(unseen)
    assert (found.done, found.failed) == (False, False)
    assert found.text


@pytest.mark.parametrize("old", [DONE, BROKEN])
def test_what_was_said_before_the_change_counts_for_nothing(
    old: tuple[dict[str, Any], ...],
) -> None:
    found = kiali_status.state(resource(*old), before=list(old))
    assert (found.done, found.failed) == (False, False)
    assert "has not taken up the change yet" in found.text


def test_the_same_failure_once_more_is_a_new_one() -> None:
    again = (BROKEN[0], {**BROKEN[1], "lastTransitionTime": "2026-01-01T00:01:00Z"})
    assert kiali_status.state(resource(*again), before=list(BROKEN)).failed


def test_a_success_after_a_failure_is_the_end() -> None:
    assert kiali_status.state(resource(*DONE), before=list(BROKEN)).done
