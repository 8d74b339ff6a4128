from __future__ import annotations

import json
import multiprocessing
import re
from pathlib import Path

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.evidence import Evidence, read
from runbook_lib.base.redact import MASK


def test_an_event_has_time_run_name_and_fields(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "1" / "evidence.jsonl"
    Evidence(path, run_id="r1").record("step-applied", step="istiod", seconds=1.5)
    (event,) = read(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("time"))
    assert event == {"run": "r1", "event": "step-applied", "step": "istiod", "seconds": 1.5}


def test_bound_fields_are_part_of_every_event(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "e", run_id="r").bind(notebook="04").bind(step="strict")
    evidence.record("probe")
    evidence.record("probe", step="other")
    assert [(e["notebook"], e["step"]) for e in read(tmp_path / "e")] == [
        ("04", "strict"),
        ("04", "other"),
    ]


def test_secrets_are_masked_in_every_field(tmp_path: Path) -> None:
    Evidence(tmp_path / "e", run_id="r").record(
        "probe", headers={"x": ["Bearer abcdefghijklmnopq"]}, token="t", path=Path("/x")
    )
    text = (tmp_path / "e").read_text()
    assert "abcdefghijkl" not in text
    (event,) = read(tmp_path / "e")
    assert (event["token"], event["path"]) == (MASK, "/x")


def test_line_separators_inside_text_do_not_split_an_event(tmp_path: Path) -> None:
    Evidence(tmp_path / "e", run_id="r").record("probe", text="a\nb\u2028c\x85d")
    assert [event["text"] for event in read(tmp_path / "e")] == ["a\nb\u2028c\x85d"]


def test_a_last_line_cut_short_is_left_out_and_not_glued_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "e"
    evidence = Evidence(path, run_id="r")
    evidence.record("first")
    path.write_bytes(path.read_bytes() + b'{"event": "cut sh\xc3')
    assert [event["event"] for event in read(path)] == ["first"]
    evidence.record("second")
    assert [event["event"] for event in read(path)] == ["first", "unreadable", "second"]


def test_no_file_is_no_events(tmp_path: Path) -> None:
    assert read(tmp_path / "nothing") == []


def test_evidence_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(RunbookError, match=r"cannot write evidence to .*runs/e"):
        Evidence(tmp_path / "runs" / "e", run_id="r").record("run-started")


def append_many(path: Path, name: str) -> None:
    for number in range(200):
        Evidence(path, run_id=name).record("probe", number=number, text="x" * 500)


def test_processes_that_append_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "e"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_many, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for name in "ab":
        assert [e["number"] for e in events if e["run"] == name] == list(range(200))
