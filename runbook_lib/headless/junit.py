"""A run as JUnit XML, which pipelines show: a suite a notebook, a case a step.

There is no standard; this keeps to what Jenkins, GitLab and GitHub's actions all read, see
https://github.com/jenkinsci/xunit-plugin/blob/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from runbook_lib.lifecycle import Record, StepOutcome, StepRecord, runs

if TYPE_CHECKING:
    from runbook_lib.headless.run import Failure

FILE = "junit.xml"

_FAILED = (
    *(StepOutcome.FAILED, StepOutcome.TAKEN_BACK, StepOutcome.INTERRUPTED, StepOutcome.APPLIED),
    *(StepOutcome.REFUSED, StepOutcome.NOT_APPROVED),
)
_LEFT_OUT = (StepOutcome.NOT_RUN, StepOutcome.SKIPPED)

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, such as the escapes of colours."""


def write(
    folder: Path,
    record: Record,
    steps: Sequence[StepRecord] = (),
    failure: Failure | None = None,
) -> Path:
    """Write `junit.xml` beside a run's evidence; returns its path.

    Args:
        folder: The run's.
        record: What it recorded.
        steps: Every step that it should have taken; without them, those that it came to.
        failure: Why a notebook did not reach its end: a case of its own where no step says so.
    """
    path = folder / FILE
    root = Element("testsuites", name=f"Istio runbook: {record.run}")
    started = record.began.isoformat(timespec="seconds") if record.began else ""
    for notebook, cases in groupby(steps or record.steps, key=lambda step: step.notebook):
        _suite(root, notebook, list(cases), started)
    if failure and not any(step.outcome in _FAILED for step in steps):
        suite = SubElement(root, "testsuite", name=failure.notebook, tests="1", failures="0")
        suite.attrib.update(errors="1", skipped="0", time=_seconds(0))
        case = SubElement(
            suite, "testcase", classname=failure.notebook, name="cells", time=_seconds(0)
        )
        error = SubElement(case, "error", type=_text(failure.error))
        error.set("message", _text(failure.message).partition("\n")[0])
        error.text = _text(failure.message)
    ET.indent(root)
    with runs.written_to(folder):
        ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    return path


def _suite(root: Element, notebook: str, steps: Sequence[StepRecord], started: str) -> None:
    suite = SubElement(
        root,
        "testsuite",
        name=notebook,
        tests=str(len(steps)),
        failures=str(_count(steps, _FAILED)),
        errors="0",
        skipped=str(_count(steps, _LEFT_OUT)),
        time=_seconds(sum(step.seconds for step in steps)),
    )
    if started:
        suite.set("timestamp", started)
    for step in steps:
        case = SubElement(
            suite, "testcase", classname=notebook, name=step.step, time=_seconds(step.seconds)
        )
        if step.outcome in _FAILED:
            failure = SubElement(case, "failure", type=_text(step.outcome))
            failure.set("message", _text(_why(step)).partition("\n")[0])
            failure.text = _text(_why(step))
        elif step.outcome in _LEFT_OUT:
            SubElement(case, "skipped", message=_text(step.outcome.text))
        said = [step.outcome.text, *step.changed]
        if step.approved:
            said.append(f"approved by {step.approved.by}: {step.approved.how}")
        SubElement(case, "system-out").text = _text("\n".join(said))


def _count(steps: Iterable[StepRecord], outcomes: Sequence[StepOutcome]) -> int:
    return sum(step.outcome in outcomes for step in steps)


def _why(step: StepRecord) -> str:
    failed = step.failed
    if failed is None:
        return step.outcome.text
    return "\n→ ".join(filter(None, [failed.cause or failed.error, failed.remedy]))


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _text(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
