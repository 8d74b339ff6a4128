"""The report says what the evidence says, no more and no less."""

from __future__ import annotations

from pathlib import Path

from runbook_lib.base.evidence import Evidence
from runbook_lib.headless import report


def _evidence(folder: Path) -> Evidence:
    return Evidence(folder / "evidence.jsonl", run_id="r1", notebook="04_mutual_tls")


def _planned(evidence: Evidence, step: str, text: str = "+mode: STRICT") -> None:
    evidence.record(
        "step-planned",
        step=step,
        digest="d" * 64,
        summary="create PeerAuthentication",
        changes=[{"ref": "PeerAuthentication a/b", "action": "create", "text": text}],
        unpredictable=[],
    )


def test_a_verified_step_shows_its_table_and_what_changed(tmp_path: Path) -> None:
    evidence = _evidence(tmp_path)
    _planned(evidence, "strict")
    evidence.record("step-applied", step="strict", changed=["create X"], seconds=1.5)
    table = {
        "title": "from outside",
        "columns": ["method"],
        "rows": [{"cells": ["GET"], "ok": True}],
    }
    evidence.record(
        "step-verified", step="strict", changed=["create X"], seconds=0.5, tables=[table], note=""
    )
    [step] = report.steps_of(report.evidence.read(evidence.path))
    assert (step.outcome, step.changed, step.seconds) == ("verified", ["create X"], 2.0)
    page = report.write(tmp_path).read_text()
    assert "1 of 1 steps verified" in page
    assert "<td>GET</td>" in page


def test_a_failure_after_success_is_a_failure_and_names_its_cause(tmp_path: Path) -> None:
    evidence = _evidence(tmp_path)
    _planned(evidence, "strict")
    evidence.record(
        "step-failed", step="strict", error="WaitTimeout", cause="no <answer>", remedy="look"
    )
    page = report.write(tmp_path).read_text()
    assert "0 of 1 steps verified" in page
    assert "no &lt;answer&gt;" in page


def test_a_step_that_was_only_planned_is_not_verified(tmp_path: Path) -> None:
    evidence = _evidence(tmp_path)
    _planned(evidence, "strict")
    assert [step.outcome for step in report.steps_of(report.evidence.read(evidence.path))] == [
        "planned"
    ]
    assert "0 of 1 steps verified" in report.write(tmp_path).read_text()


def test_text_from_the_cluster_is_escaped(tmp_path: Path) -> None:
    _planned(_evidence(tmp_path), "strict", text="+<script>alert(1)</script>")
    assert "<script>" not in report.write(tmp_path).read_text()


def test_a_step_that_waits_for_a_person_has_not_failed(tmp_path: Path) -> None:
    evidence = _evidence(tmp_path)
    _planned(evidence, "strict")
    evidence.record("step-failed", step="strict", error="NotApproved", cause="not yet", remedy="")
    assert "! not approved" in report.write(tmp_path).read_text()
    evidence.record("step-applied", step="strict", changed=["create X"], seconds=1.0)
    page = report.write(tmp_path).read_text()
    assert "not approved" not in page.partition("<body>")[2]
    assert "not yet" not in page


def test_a_skipped_step_is_called_skipped(tmp_path: Path) -> None:
    evidence = _evidence(tmp_path)
    _planned(evidence, "strict")
    evidence.record("step-skipped", step="strict")
    assert "– skipped" in report.write(tmp_path).read_text()
