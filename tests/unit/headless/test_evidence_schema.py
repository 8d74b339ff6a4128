"""Evidence keeps to the schema that is printed for those who read it without this library."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from runbook_lib.base.locations import repository_root
from runbook_lib.cli import app
from runbook_lib.headless.evidence_schema import schema
from runbook_lib.lifecycle import runs
from runbook_lib.lifecycle.events import Answered, ByHand, Probed, Waiting
from runbook_lib.lifecycle.table import Row, Table
from tests.unit.events import (
    APPROVED,
    LEFT,
    SKIPPED,
    TAKEN_BACK,
    applied,
    applying,
    failed,
    former,
    planned,
    started,
    verified,
)

TABLE = Table("from outside", ("method",), (Row(("GET",), ok=True),))
ANSWERED = Answered("GET", "/", None, "no answer", "200", ok=False)
EVENTS = (
    *(started(), planned("X"), APPROVED, SKIPPED, applying(former(manifest={"kind": "Thing"}))),
    *(applied("create X"), verified(0.5, TABLE), failed(), TAKEN_BACK, LEFT),
    *(Waiting("soon"), ByHand("restart it"), Probed("http://x", (ANSWERED,), proved=False)),
)


def test_every_line_keeps_to_the_schema_that_is_printed(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["runs", "schema"]).stdout
    validator = jsonschema.Draft202012Validator(json.loads(printed))
    validator.check_schema(validator.schema)
    for event in EVENTS:
        runs.open_journal(tmp_path, "04_mutual_tls").of_step("strict").record(event)
    for line in (tmp_path / runs.EVIDENCE).read_text().splitlines():
        validator.validate(json.loads(line))


def test_the_schema_that_is_delivered_is_the_one_that_is_printed() -> None:
    written = repository_root() / "docs" / "evidence.schema.json"
    printed = CliRunner().invoke(app, ["runs", "schema"]).stdout
    assert written.read_text() == printed, "istio-runbook runs schema > docs/evidence.schema.json"


@pytest.mark.parametrize(
    "change", [{"schema": 2}, {"event": "unheard-of"}, {"previous": ""}, {"more": 1}, {"line": 0}]
)
def test_what_is_no_line_of_this_version_does_not_keep_to_it(
    tmp_path: Path, change: dict[str, object]
) -> None:
    runs.open_journal(tmp_path, "04_mutual_tls").record(started())
    line = json.loads((tmp_path / runs.EVIDENCE).read_text())
    validator = jsonschema.Draft202012Validator(schema())
    assert validator.is_valid(line)
    assert not validator.is_valid({**line, **change})
