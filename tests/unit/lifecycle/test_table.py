"""Tables: aligned text, and words for what is well."""

from __future__ import annotations

from runbook_lib.lifecycle import table
from runbook_lib.lifecycle.table import Check, Table
from runbook_lib.site.probe import Expectation, Observed, Probe, ProbeRow, ProbeTable


def test_columns_are_aligned_without_trailing_space() -> None:
    text = str(Table("Title", ("a", "long name"), (("x", "1"), ("wide", ""))))
    assert text == "Title\na     long name\nx     1\nwide"


def test_checks_say_yes_no_or_nothing() -> None:
    checks = [Check("a", "1", ok=True), Check("b", "2", ok=False), Check("c", "3", ok=None)]
    assert [row[-1] for row in table.of_checks("", checks).rows] == ["yes", "NO", "-"]


def test_facts_that_are_only_shown_are_no_failure() -> None:
    assert table.all_ok([Check("a", "1", ok=True), Check("b", "2", ok=None)])
    assert not table.all_ok([Check("a", "1", ok=True), Check("b", "2", ok=False)])


def test_a_probe_row_shows_what_came_and_what_was_expected() -> None:
    denied = Probe("POST", "/", Expectation(403, "RBAC: access denied"))
    rows = (
        ProbeRow(denied, Observed("POST", 200, "welcome", body="welcome")),
        ProbeRow(denied, Observed("POST", None, error="connection refused")),
    )
    assert table.of_probes("", ProbeTable(rows)).rows == (
        ("POST", "/", "200", "welcome", "403 RBAC: access denied", "NO"),
        ("POST", "/", "-", "connection refused", "403 RBAC: access denied", "NO"),
    )
