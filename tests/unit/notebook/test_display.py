"""What notebooks show: HTML that escapes everything, with the same words as the text."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

import pytest
from IPython.core.getipython import get_ipython

from runbook_lib.lifecycle.approvals import Approvals
from runbook_lib.lifecycle.gate import Gate
from runbook_lib.lifecycle.lifecycle import Applied
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.lifecycle.step import Verification
from runbook_lib.lifecycle.table import Row, Table
from runbook_lib.notebook import display
from runbook_lib.parameters import Layer, loading
from runbook_lib.parameters.capabilities import LAB_FILE
from tests.unit.samples import LAB, PRODUCTION

HOSTILE = "<script>alert('x')</script> & co"
TABLE = Table("Traffic", ("method",), (Row(("GET",), ok=True), Row(("POST",), ok=False)))


def words(text: str) -> set[str]:
    plain = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.S)
    return set(re.findall(r"\w+", html.unescape(plain).lower()))


@pytest.mark.parametrize(
    ("shown", "page"),
    [
        (TABLE, display.table_html(TABLE)),
        (
            v := Verification("s", tables=(TABLE,), note="Seen."),
            display.verification_html(v),
        ),
        (a := Applied("s", ("create X",), "Applied: create X."), display._applied_html(a)),
        (
            d := Gate(LAB, Approvals(), environ={}).decide(Plan("s", "uid-1")),
            display.decision_html(d),
        ),
    ],
)
def test_html_says_everything_that_the_text_says(shown: object, page: str) -> None:
    missing = words(str(shown)) - words(page) - {"approval"}
    assert missing == set()


def test_text_from_outside_is_escaped_everywhere() -> None:
    table = Table.shown(HOSTILE, (HOSTILE,), [(HOSTILE,)])
    plan = Plan("s", "u", (Change.of_text(HOSTILE, "create", HOSTILE),), (HOSTILE,), HOSTILE)
    pages = [
        display.table_html(table),
        display.verification_html(Verification("s", tables=(table,), note=HOSTILE)),
        display.decision_html(
            Gate(LAB, Approvals(), environ={"RUNBOOK_APPROVE": HOSTILE}).decide(plan)
        ),
        display._applied_html(Applied("s", (), HOSTILE)),
    ]
    for page in pages:
        assert "<script>" not in page
        assert "&lt;script&gt;" in page


def test_colours_only_repeat_a_word() -> None:
    page = display.table_html(TABLE)
    assert "<td class='rb-good'>yes</td>" in page
    assert "<td class='rb-bad'>NO</td>" in page


def test_a_row_of_a_table_is_a_line_so_that_stored_outputs_can_be_compared() -> None:
    lines = display.table_html(TABLE).splitlines()
    assert "<tr><td>GET</td><td class='rb-good'>yes</td></tr>" in lines


def test_a_table_without_rows_says_so() -> None:
    empty = Table("Policies", ("name",), ())
    assert str(empty) == "Policies\nnone"
    assert display.table_html(empty).endswith("<p><b>Policies</b></p><p>none</p>")


def test_the_headline_names_the_target_and_how_it_is_worked_on() -> None:
    given = loading.load(None, [Layer("the notebook", {"mode": "plan"})])
    text = display.headline(PRODUCTION, given.parameters, given.origin, Path("runs/x"))
    for expected in ("prod (production)", "https://prod.example.com", "uid-2", "documented"):
        assert expected in text
    assert "plan: nothing will be changed" in text
    assert f"Parameters: {LAB_FILE} (sha256 {given.origin.files[0].digest[:12]}), because" in text
    assert "no file was given; from the notebook: mode\n" in text
    assert f"Python:     {sys.executable} (3." in text
    shown = display.headline(LAB, given.parameters, given.origin, Path("runs/x"))
    assert "production" not in shown


def test_outside_of_ipython_there_is_nothing_to_register() -> None:
    display.register()
    assert get_ipython() is None
