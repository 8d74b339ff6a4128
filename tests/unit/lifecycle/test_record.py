"""One fold says what a run did: every reader reads this."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from runbook_lib.base.journal import Entry, Event, Journal
from runbook_lib.lifecycle import record
from runbook_lib.lifecycle.events import Answered, Probed, Sampled, Waiting
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.record import Record, StepRecord
from tests.unit.events import (
    APPLYING,
    APPROVED,
    AT,
    SKIPPED,
    applied,
    failed,
    planned,
    started,
    verified,
)

SAMPLED = Sampled("http://x", "GET", "/", 10, 0, 0.0, "", "10 requests, none failed")


def entries(*events: Event, step: str = "strict", since: int = 0) -> Iterator[Entry]:
    for number, event in enumerate(events, start=since):
        yield Entry(AT + timedelta(seconds=number), "r1", event, "04_mutual_tls", step)


def step_after(*events: Event) -> StepRecord:
    (found,) = record.fold(entries(*events)).steps
    return found


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([planned("X")], StepOutcome.PLANNED),
        ([planned("X"), APPROVED], StepOutcome.PLANNED),
        ([planned("X"), SKIPPED], StepOutcome.SKIPPED),
        ([planned("X"), SKIPPED, APPROVED], StepOutcome.PLANNED),
        ([failed("RunbookError", StepOutcome.REFUSED, "plan")], StepOutcome.REFUSED),
        ([planned("X"), failed("NotApproved", StepOutcome.NOT_APPROVED)], StepOutcome.NOT_APPROVED),
        ([planned("X"), APPROVED, APPLYING], StepOutcome.INTERRUPTED),
        ([planned("X"), APPROVED, APPLYING, Waiting("0 of 1")], StepOutcome.INTERRUPTED),
        ([planned("X"), APPROVED, APPLYING, SAMPLED], StepOutcome.INTERRUPTED),
        ([planned("X"), APPROVED, APPLYING, failed()], StepOutcome.FAILED),
        ([planned("X"), APPROVED, APPLYING, applied("create X")], StepOutcome.APPLIED),
        ([planned("X"), APPROVED, APPLYING, applied("create X"), verified()], StepOutcome.VERIFIED),
        ([planned("X"), APPROVED, APPLYING, applied("create X"), failed()], StepOutcome.FAILED),
        ([planned(), applied(), verified()], StepOutcome.VERIFIED),
    ],
)
def test_the_outcome_is_how_far_a_step_came(events: list[Event], outcome: StepOutcome) -> None:
    assert step_after(*events).outcome is outcome


def test_a_step_says_who_approved_what_was_changed_and_how_long_it_took() -> None:
    step = step_after(
        planned("X"), APPROVED, APPLYING, applied("create X", seconds=1.25), SAMPLED, verified(0.5)
    )
    assert step.approved == APPROVED
    assert (step.changed, step.seconds, step.sampled) == (("create X",), 1.75, SAMPLED)
    assert step.changing_since == AT + timedelta(seconds=2)
    assert step.applied_at == AT + timedelta(seconds=3)


def test_what_was_begun_and_not_ended_may_have_changed_something() -> None:
    assert step_after(planned("X"), APPROVED, APPLYING).touched
    assert step_after(planned("X"), APPROVED, APPLYING, failed()).touched
    assert not step_after(planned("X"), APPROVED).touched
    assert not step_after(planned(), applied(), verified()).touched


def test_a_refusal_that_was_mended_is_not_told_any_more() -> None:
    refused = failed("NotApproved", StepOutcome.NOT_APPROVED, cause="not yet")
    step = step_after(planned("X"), refused, APPROVED, APPLYING, applied("create X"))
    assert (step.outcome, step.failed) == (StepOutcome.APPLIED, None)


def test_only_a_plan_with_changes_is_pending() -> None:
    assert step_after(planned("X")).pending
    assert not step_after(planned()).pending
    assert not step_after(planned("X"), APPROVED, APPLYING, applied("create X")).pending


def test_a_plan_begins_a_new_attempt_and_the_last_one_counts() -> None:
    run = record.fold(
        entries(planned("X"), APPROVED, APPLYING, applied("create X"), verified(), planned())
    )
    assert [attempt.outcome for attempt in run.attempts] == [
        StepOutcome.VERIFIED,
        StepOutcome.PLANNED,
    ]
    assert [step.outcome for step in run.steps] == [StepOutcome.PLANNED]
    assert run.steps[0].changed == ()


def test_a_plan_that_is_refused_is_an_attempt_of_its_own() -> None:
    refused = failed("RunbookError", StepOutcome.REFUSED, "plan")
    run = record.fold(entries(planned(), applied(), verified(), refused))
    assert [attempt.outcome for attempt in run.attempts] == [
        StepOutcome.VERIFIED,
        StepOutcome.REFUSED,
    ]


def test_steps_keep_their_order_and_their_events() -> None:
    run = record.fold(
        [
            *entries(planned("X"), step="strict"),
            *entries(planned("Y"), step="exception", since=1),
            *entries(APPROVED, APPLYING, step="strict", since=2),
        ]
    )
    found = [(step.step, step.outcome) for step in run.steps]
    assert found == [("strict", StepOutcome.INTERRUPTED), ("exception", StepOutcome.PLANNED)]


def test_the_same_step_in_two_notebooks_is_two_steps() -> None:
    twice = [Entry(AT, "r1", planned(), notebook, "strict") for notebook in ("04", "90")]
    assert len(record.fold(twice).steps) == 2


def test_a_step_without_a_record_was_not_run() -> None:
    assert Record().step("04", "strict") == StepRecord("04", "strict", StepOutcome.NOT_RUN)


def test_waiting_alone_is_no_attempt() -> None:
    assert record.fold(entries(Waiting("0 of 1"))).attempts == ()


def test_a_run_is_where_its_first_notebook_began() -> None:
    probed = Probed("http://x", (Answered("GET", "/", 200, "", "200", ok=True),), proved=True)
    first, second = started(), started(uid="another")
    run = record.fold(entries(first, second, probed, step=""))
    assert (run.run, run.started, run.attempts) == ("r1", first, ())
    assert (run.began, run.ended) == (AT, AT + timedelta(seconds=2))
    assert run.probes == ((AT + timedelta(seconds=2), probed),)


def test_a_torn_last_line_leaves_the_step_where_it_was_before(tmp_path: Path) -> None:
    path = tmp_path / "evidence.jsonl"
    step = Journal(path, run="r1", notebook="04").of_step("strict")
    for event in (planned("X"), APPROVED, APPLYING, applied("create X")):
        step.record(event)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert record.of(path).steps[0].outcome is StepOutcome.INTERRUPTED
    path.write_bytes(whole)
    assert record.of(path).steps[0].outcome is StepOutcome.APPLIED


def test_lines_that_are_lost_are_named(tmp_path: Path) -> None:
    path = tmp_path / "evidence.jsonl"
    step = Journal(path, run="r1", notebook="04").of_step("strict")
    step.record(planned("X"))
    path.write_bytes(path.read_bytes()[:-20])
    step.record(planned("X"))
    run = record.of(path)
    assert (run.unreadable, len(run.attempts)) == ((1,), 1)


@pytest.mark.parametrize("outcome", list(StepOutcome))
def test_every_outcome_has_a_sign_and_a_text_that_says_the_word(outcome: StepOutcome) -> None:
    assert len(outcome.sign) == 1
    assert outcome.text.startswith(outcome)


def test_an_interruption_says_what_to_do() -> None:
    text = StepOutcome.INTERRUPTED.text
    assert text == "interrupted while applying: state unknown, run again"
