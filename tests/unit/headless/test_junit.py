"""A run as pipelines read it: a suite a notebook, a case a step, by the rules that they share."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from runbook_lib.headless import junit
from runbook_lib.headless.run import Failure
from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.outcome import StepOutcome
from runbook_lib.lifecycle.record import StepRecord
from tests.unit.events import APPLYING, APPROVED, SKIPPED, applied, failed, planned, verified

CHILDREN = ["error", "failure", "skipped", "system-out"]
"""What a case may hold, in the order in which the schema of Jenkins has it."""


def suites(folder: Path, *steps: StepRecord, failure: Failure | None = None) -> list[ET.Element]:
    path = junit.write(folder, runs.record_of(folder), steps, failure)
    assert path.stat().st_mode & 0o777 == 0o600
    root = ET.parse(path).getroot()
    assert root.tag == "testsuites"
    for suite in root:
        cases = suite.findall("testcase")
        counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors")}
        assert counts["tests"] == len(cases) == len(list(suite))
        assert counts["failures"] == len(suite.findall("testcase/failure"))
        assert counts["errors"] == len(suite.findall("testcase/error"))
        assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
        assert float(suite.attrib["time"]) >= 0
        for case in cases:
            assert {"name", "classname", "time"} == set(case.attrib)
            assert [child.tag for child in case] == sorted(
                (child.tag for child in case), key=CHILDREN.index
            )
    return list(root)


def recorded(folder: Path) -> None:
    journal = runs.open_journal(folder, "04_mutual_tls")
    for step, events in {
        "strict": (planned("X"), APPROVED, APPLYING, applied("create X", seconds=2), verified(0.5)),
        "exception": (planned("Y"), failed(cause="no \x1b[31manswer\nat all", remedy="ask")),
        "asked": (planned("Z"), SKIPPED),
    }.items():
        for event in events:
            journal.of_step(step).record(event)


def test_every_step_is_a_case_with_its_time_its_failure_and_who_approved(tmp_path: Path) -> None:
    recorded(tmp_path)
    (suite,) = suites(tmp_path)
    assert (suite.attrib["name"], suite.attrib["time"]) == ("04_mutual_tls", "2.500")
    strict, exception, asked = suite
    assert [strict.attrib["name"], strict.attrib["time"]] == ["strict", "2.500"]
    assert "create X\napproved by me@here" in (strict.findtext("system-out") or "")
    failure = exception.find("failure")
    assert failure is not None
    assert failure.attrib == {"type": "failed", "message": "no \N{REPLACEMENT CHARACTER}[31manswer"}
    assert "→ ask" in (failure.text or "")
    assert asked.find("skipped") is not None


def test_steps_that_a_run_did_not_come_to_are_skipped(tmp_path: Path) -> None:
    recorded(tmp_path)
    later = StepRecord("05_authorization", "policy")
    first, second = suites(tmp_path, *runs.record_of(tmp_path).steps, later)
    assert (first.attrib["skipped"], second.attrib["skipped"]) == ("1", "1")


def test_a_notebook_that_stops_outside_of_steps_is_an_error(tmp_path: Path) -> None:
    done = StepRecord("04_mutual_tls", "strict", StepOutcome.VERIFIED)
    stop = Failure("05_authorization", "look", "KeyError", "gone", tmp_path / "05.ipynb")
    _, broken = suites(tmp_path, done, failure=stop)
    error = broken.find("testcase/error")
    assert error is not None
    assert error.attrib == {"type": "KeyError", "message": "gone"}
