"""What an approval takes besides a yes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runbook_lib.base.errors import NotApproved, ParameterError
from runbook_lib.lifecycle.permission import Permission, agreed_time
from runbook_lib.parameters import ApprovalParameters
from tests.unit.samples import lab_parameters

SATURDAY = datetime(2026, 1, 3, tzinfo=UTC)


def permission(*, production: bool = True, **given: Any) -> Permission:
    return Permission(lab_parameters(approval=given).approval, production)


def is_open(window: dict[str, Any], at: datetime) -> bool:
    try:
        permission(window=window).require_window(at)
    except NotApproved:
        return False
    return True


@pytest.mark.parametrize(("hour", "expected"), [(17, False), (18, True), (21, True), (22, False)])
def test_a_window_is_open_from_its_first_minute_to_its_last(hour: int, expected: bool) -> None:
    window = {"days": ["sat"], "begin": "18:00", "end": "22:00"}
    assert is_open(window, SATURDAY + timedelta(hours=hour)) is expected
    assert not is_open(window, SATURDAY + timedelta(days=1, hours=hour))


@pytest.mark.parametrize(
    ("hours", "expected"), [(19, False), (20, True), (25, True), (26, False), (44, False)]
)
def test_a_window_that_ends_before_it_begins_ends_on_the_next_day(
    hours: int, expected: bool
) -> None:
    window = {"days": ["sat"], "begin": "20:00", "end": "02:00"}
    assert is_open(window, SATURDAY + timedelta(hours=hours)) is expected
    assert not is_open(window, SATURDAY + timedelta(hours=1))


def test_a_window_goes_by_the_clock_of_its_time_zone() -> None:
    window = {"days": ["sat"], "begin": "20:00", "end": "21:00", "timezone": "Europe/Berlin"}
    assert is_open(window, SATURDAY + timedelta(hours=19, minutes=30))
    assert not is_open(window, SATURDAY + timedelta(hours=20, minutes=30))
    summer = datetime(2026, 7, 4, 18, 30, tzinfo=UTC)
    assert is_open(window, summer)


def test_outside_of_the_window_only_production_is_refused_and_told_when() -> None:
    window = {"days": ["sat"], "begin": "20:00", "end": "21:00"}
    permission(window=window, production=False).require_window(SATURDAY)
    with pytest.raises(NotApproved, match=r"Saturday, 00:00 \(UTC\).*sat 20:00 to 21:00 UTC"):
        permission(window=window).require_window(SATURDAY)


def test_one_person_decides_alone_unless_the_parameters_ask_for_more() -> None:
    Permission(ApprovalParameters()).require_one()
    with pytest.raises(NotApproved, match="2 persons have to approve"):
        permission(persons=2).require_one()


def test_an_account_counts_once() -> None:
    permission(persons=2).require_persons(frozenset({"ana", "ben"}))
    with pytest.raises(NotApproved, match=r"2 persons have to approve.* and ana did"):
        permission(persons=2).require_persons(frozenset({"ana"}))


def test_plans_are_too_old_after_the_hours_of_the_parameters() -> None:
    permission(expires=24).require_fresh(SATURDAY, SATURDAY + timedelta(hours=24))
    permission().require_fresh(SATURDAY, SATURDAY + timedelta(days=400))
    with pytest.raises(NotApproved, match="planned at 2026-01-03 00:00 UTC, more than 24 hours"):
        permission(expires=24).require_fresh(SATURDAY, SATURDAY + timedelta(hours=25))


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ({"begin": "8 pm"}, "must be a time of day, and is '8 pm'"),
        ({"begin": 1230}, "must be a time of day, and is 1230"),
        ({"timezone": "Berlin"}, "must be a time zone that this machine knows"),
        ({"days": []}, "days"),
        ({"days": ["someday"]}, "days"),
    ],
)
def test_a_window_that_is_none_is_refused(window: dict[str, Any], said: str) -> None:
    given = {"days": ["sat"], "begin": "20:00", "end": "21:00"}
    with pytest.raises(ParameterError, match=said):
        lab_parameters(approval={"window": {**given, **window}})


class Clock:
    """A cluster whose clock differs from this machine's."""

    def __init__(self, ahead: timedelta | None) -> None:
        self.ahead = ahead

    def time(self) -> datetime | None:
        return None if self.ahead is None else datetime.now(UTC) + self.ahead


@pytest.mark.parametrize("ahead", [None, timedelta(), timedelta(minutes=4)])
def test_clocks_that_hardly_differ_agree(ahead: timedelta | None) -> None:
    assert datetime.now(UTC) - agreed_time(Clock(ahead)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(hours=2, seconds=30), "this machine's clock is 2 h behind the API server's"),
        (timedelta(days=-400, hours=-1), "this machine's clock is 400 d 1 h ahead of"),
    ],
)
def test_by_a_clock_that_may_be_wrong_nothing_is_approved(ahead: timedelta, words: str) -> None:
    with pytest.raises(NotApproved, match=words):
        agreed_time(Clock(ahead))


@pytest.mark.parametrize(
    ("given", "production", "expected"),
    [
        ({}, True, False),
        ({"expires": 1}, False, True),
        ({"window": {"days": ["sat"], "begin": "20:00", "end": "21:00"}}, True, True),
        ({"window": {"days": ["sat"], "begin": "20:00", "end": "21:00"}}, False, False),
    ],
)
def test_the_time_is_asked_for_only_where_it_matters(
    given: dict[str, Any], production: bool, expected: bool
) -> None:
    assert permission(production=production, **given).depends_on_time is expected
