"""The report says what the evidence says, no more and no less."""

from __future__ import annotations

import json
import re
from pathlib import Path

from runbook_lib.base.journal import Event
from runbook_lib.headless import report
from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.table import Row, Table
from tests.unit.events import (
    APPLYING,
    APPROVED,
    LEFT,
    SKIPPED,
    TAKEN_BACK,
    applied,
    applying,
    failed,
    planned,
    started,
    verified,
)

PLANNED = planned("PeerAuthentication a/b", text="+mode: STRICT")


def _record(folder: Path, *events: Event) -> None:
    for event in events:
        runs.open_journal(folder, "04_mutual_tls").of_step("strict").record(event)


def _page(folder: Path, *events: Event) -> str:
    _record(folder, *events)
    return report.write(folder).read_text()


def test_a_verified_step_shows_its_table_who_approved_it_and_what_changed(tmp_path: Path) -> None:
    table = Table("from outside", ("method",), (Row(("GET",), ok=True),))
    change = applied("create X", seconds=1.5)
    page = _page(tmp_path, PLANNED, APPROVED, APPLYING, change, verified(0.5, table))
    assert "1 of 1 steps verified" in page
    assert '✓ verified</td><td>1 change</td><td class="number">2.0</td>' in page
    assert "Approved by me@here" in page
    assert "<td>GET</td><td>yes</td>" in page


def test_a_failure_after_success_is_a_failure_and_names_its_cause(tmp_path: Path) -> None:
    why = failed(cause="no <answer>", remedy="look")
    page = _page(tmp_path, PLANNED, APPROVED, APPLYING, why)
    assert "0 of 1 steps verified" in page
    assert "✗ failed" in page
    assert "no &lt;answer&gt;" in page


def test_a_step_that_was_only_planned_is_not_verified(tmp_path: Path) -> None:
    page = _page(tmp_path, PLANNED)
    assert "○ planned" in page
    assert "0 of 1 steps verified" in page


def test_text_from_the_cluster_is_escaped(tmp_path: Path) -> None:
    assert "<script>" not in _page(tmp_path, planned("X", text="+<script>alert(1)</script>"))


def test_a_step_that_waits_for_a_person_has_not_failed(tmp_path: Path) -> None:
    waits = failed("NotApproved", StepOutcome.NOT_APPROVED, cause="not yet")
    assert "! not approved" in _page(tmp_path, PLANNED, waits)
    page = _page(tmp_path, APPROVED, APPLYING, applied("create X"))
    assert "not approved" not in page.partition("<body>")[2]
    assert "not yet" not in page


def test_a_skipped_step_is_called_skipped(tmp_path: Path) -> None:
    assert "↷ skipped" in _page(tmp_path, PLANNED, SKIPPED)


def test_a_step_that_breaks_off_while_it_is_applied_is_interrupted(tmp_path: Path) -> None:
    page = _page(tmp_path, PLANNED, APPROVED, APPLYING)
    assert "? interrupted while applying: state unknown, run again</td><td>unknown</td>" in page


def test_a_step_that_breaks_off_before_it_is_verified_is_applied(tmp_path: Path) -> None:
    page = _page(tmp_path, PLANNED, APPROVED, APPLYING, applied("create X"))
    assert "● applied, not verified</td><td>1 change</td>" in page


def test_an_error_without_words_is_named(tmp_path: Path) -> None:
    stopped = failed("KeyboardInterrupt", StepOutcome.INTERRUPTED)
    assert "<strong>Cause:</strong> KeyboardInterrupt" in _page(tmp_path, APPLYING, stopped)


def test_the_cluster_is_named(tmp_path: Path) -> None:
    runs.open_journal(tmp_path, "04_mutual_tls").record(started())
    page = report.write(tmp_path).read_text()
    assert "<dt>Target</dt><dd>lab-default</dd>" in page


def test_lines_that_are_lost_are_named(tmp_path: Path) -> None:
    _record(tmp_path, PLANNED)
    path = tmp_path / runs.EVIDENCE
    path.write_bytes(path.read_bytes()[:-9])
    assert "Lines of the evidence that cannot be read: 1." in _page(tmp_path, PLANNED)


def test_a_run_without_events_has_a_report(tmp_path: Path) -> None:
    assert "0 of 0 steps verified" in report.write(tmp_path).read_text()


def test_what_was_taken_back_says_so_beside_why(tmp_path: Path) -> None:
    why = failed(cause="the site answers 502")
    page = _page(tmp_path, PLANNED, APPROVED, applying(), why, TAKEN_BACK)
    assert "↶ taken back after a failure" in page
    assert "the site answers 502" in page
    assert "and proved:</strong> Thing a/b (there was none)" in page


def test_what_was_left_shows_the_command(tmp_path: Path) -> None:
    page = _page(tmp_path, PLANNED, APPROVED, applying(), failed(), LEFT)
    assert "others have changed Thing a/b since" in page
    assert "<pre>kubectl delete &#39;Thing a/b&#39;</pre>" in page


def test_the_verdict_comes_first_with_its_cause(tmp_path: Path) -> None:
    why = failed(cause="no <answer>", remedy="look")
    body = _page(tmp_path, PLANNED, APPROVED, APPLYING, why).partition("<body>")[2]
    first, cause, changes = (
        body.index(text) for text in ("Stopped at strict", "no &lt;answer&gt;", "What changed")
    )
    assert first < cause < changes


def test_what_changed_names_when_what_and_who(tmp_path: Path) -> None:
    page = _page(tmp_path, PLANNED, APPROVED, APPLYING, applied("create X"), verified())
    changed = page.partition("What changed, and who approved it</h2>")[2].partition("<h2")[0]
    for part in ("strict</a>", "create X", "me@here", "RUNBOOK_APPROVE names lab-default."):
        assert part in changed
    assert "Nothing was changed." in _page(tmp_path / "other", planned(), verified())


def test_differences_are_folded(tmp_path: Path) -> None:
    page = _page(tmp_path, PLANNED)
    assert "<details><summary>Difference of PeerAuthentication a/b</summary>" in page


def test_a_run_in_plan_mode_is_no_failure(tmp_path: Path) -> None:
    page = _page(tmp_path, planned("X", plan_only=True))
    assert "Planned, nothing was changed: 1 of 1 steps have changes pending" in page


def test_steps_that_a_run_did_not_come_to_and_the_signal_that_ended_it_are_named(
    tmp_path: Path,
) -> None:
    _record(tmp_path, PLANNED, APPROVED, APPLYING, applied("create X"), verified())
    steps = [{"notebook": "04_mutual_tls", "step": name} for name in ("strict", "exception")]
    (tmp_path / runs.SUMMARY).write_text(json.dumps({"steps": steps, "ended_by": "SIGTERM"}))
    page = report.write(tmp_path).read_text()
    assert "Ended by SIGTERM: 1 of 2 steps verified" in page
    assert "- not run" in page


def test_the_seal_of_the_evidence_is_in_it(tmp_path: Path) -> None:
    page = _page(tmp_path, PLANNED)
    assert str(runs.seal_of(tmp_path)) in page


def test_pictures_of_executed_notebooks_are_in_it_and_nothing_else_of_their_html(
    tmp_path: Path,
) -> None:
    image = '<img src="data:image/svg+xml;base64,QQ==" alt="The mesh. Pods." width="9">'
    html = [f"<script>alert(1)</script>{image}", '<img src="http://elsewhere/x" alt="no">']
    outputs = [{"data": {"text/html": html}}, {"data": {"text/html": image}}]
    notebook = {"cells": [{"outputs": outputs}, {"source": "markdown"}]}
    (tmp_path / "04_mutual_tls.ipynb").write_text(json.dumps(notebook))
    (tmp_path / "05_cut_short.ipynb").write_text('{"cells": [')
    page = _page(tmp_path, PLANNED)
    assert page.count(image) == 1
    assert "<h3>The mesh</h3>" in page
    assert "alert(1)" not in page
    assert "elsewhere" not in page


def test_it_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = _page(tmp_path, PLANNED, APPROVED, APPLYING, applied("create X"), verified())
    assert not re.search(r"""(src|href)=["'](?!#|data:)|@import|url\(|<script""", page)
