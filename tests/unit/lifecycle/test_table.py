"""Tables: aligned text, and words for what is well."""

from __future__ import annotations

import pytest

from runbook_lib.lifecycle import table
from runbook_lib.lifecycle.table import Check, Row, Table
from runbook_lib.site.probe import Expectation, Observed, Probe, ProbeRow, ProbeTable


def test_columns_are_aligned_without_trailing_space() -> None:
    text = str(Table.shown("Title", ("a", "long name"), [("x", "1"), ("wide", "")]))
    assert text == "Title\na     long name\nx     1\nwide"


def test_checks_say_yes_no_or_nothing() -> None:
    checks = [Check("a", "1", ok=True), Check("b", "2", ok=False), Check("c", "3", ok=None)]
    shown = table.of_checks("", checks)
    assert [row.ok for row in shown.rows] == [True, False, None]
    assert str(shown) == "check  found  ok\na      1      yes\nb      2      NO\nc      3      -"


def test_facts_that_are_only_shown_are_no_failure() -> None:
    assert table.all_ok([Check("a", "1", ok=True), Check("b", "2", ok=None)])
    assert not table.all_ok([Check("a", "1", ok=True), Check("b", "2", ok=False)])


@pytest.mark.parametrize(
    ("verdicts", "ok", "proved"),
    [((True, True), True, True), ((True, None), True, False), ((True, False), False, False)],
)
def test_what_cannot_be_told_is_neither_wrong_nor_proved(
    verdicts: tuple[bool | None, ...], ok: bool, proved: bool
) -> None:
    judged = Table("", ("a",), tuple(Row(("x",), verdict) for verdict in verdicts))
    assert (judged.ok, judged.proved) == (ok, proved)


def test_a_cell_that_says_yes_is_no_verdict() -> None:
    shown = Table.shown("", ("chosen",), [("yes",), ("NO",)])
    assert shown.ok
    assert not shown.judged
    assert str(shown) == "chosen\nyes\nNO"


def test_a_probe_row_shows_what_came_and_what_was_expected() -> None:
    denied = Probe("POST", "/", Expectation(403, "RBAC: access denied"))
    rows = (
        ProbeRow(denied, Observed("POST", 200, "welcome", body="welcome")),
        ProbeRow(denied, Observed("POST", None, error="connection refused")),
    )
    assert table.of_probes("", ProbeTable(rows)).rows == (
        Row(("POST", "/", "200", "welcome", "403 RBAC: access denied"), ok=False),
        Row(("POST", "/", "-", "connection refused", "403 RBAC: access denied"), ok=False),
    )
