from __future__ import annotations

import json
import multiprocessing
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import pytest

from runbook_lib.base import chain
from runbook_lib.base.errors import RunbookError
from runbook_lib.base.journal import Event, History, Journal, Tail, read, seal_of
from runbook_lib.base.redact import MASK


class Colour(StrEnum):
    """A word of a fixed list."""

    RED = "red"


@dataclass(frozen=True)
class Part:
    """A piece of an event."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Painted(Event, name="test-painted"):
    """An event with a field of every kind."""

    colour: Colour
    at: datetime
    parts: tuple[Part, ...] = ()
    coats: int | None = None


@dataclass(frozen=True)
class Said(Event, name="test-said"):
    """An event with a text."""

    text: str = ""
    number: int = 0
    token: str = ""


def said(path: Path) -> list[str]:
    return [e.event.text for e in read(path).entries if isinstance(e.event, Said)]


def test_a_line_has_time_run_name_place_and_fields(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "1" / "evidence.jsonl"
    Journal(path, run="r1", notebook="04").of_step("strict").record(Said("x", 1))
    line = json.loads(path.read_text())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "schema": 1,
        "line": 1,
        "previous": "0" * 64,
        "run": "r1",
        "event": "test-said",
        "notebook": "04",
        "step": "strict",
        "text": "x",
        "number": 1,
        "token": MASK,
    }


def test_an_event_is_read_as_it_was_written(tmp_path: Path) -> None:
    event = Painted(Colour.RED, datetime(2026, 1, 2, tzinfo=UTC), (Part(("a", "b")),), 2)
    Journal(tmp_path / "e", run="r").record(event)
    (entry,) = read(tmp_path / "e").entries
    assert (entry.event, entry.run, entry.notebook, entry.step) == (event, "r", "", "")
    assert entry.at.tzinfo is not None


def test_secrets_are_masked_in_every_field(tmp_path: Path) -> None:
    secret = "Bearer abcdefghijklmnopq"
    Journal(tmp_path / "e", run="r").record(Said(f"x: {secret}", token="t"))
    assert "abcdefghijkl" not in (tmp_path / "e").read_text()
    (entry,) = read(tmp_path / "e").entries
    assert isinstance(entry.event, Said)
    assert entry.event.token == MASK


def test_line_separators_inside_text_do_not_split_an_event(tmp_path: Path) -> None:
    Journal(tmp_path / "e", run="r").record(Said("a\nb\u2028c\x85d"))
    assert said(tmp_path / "e") == ["a\nb\u2028c\x85d"]


def test_a_last_line_cut_short_is_left_out_and_not_glued_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "e"
    journal = Journal(path, run="r")
    journal.record(Said("first"))
    path.write_bytes(path.read_bytes() + b'{"event": "cut sh\xc3')
    assert (said(path), read(path).unreadable) == (["first"], ())
    journal.record(Said("second"))
    assert (said(path), read(path).unreadable) == (["first", "second"], (2,))


@pytest.mark.parametrize(
    "line",
    [
        '{"time": "2026-01-02T03:04:05Z", "run": "r", "event": "test-of-a-later-version"}',
        '{"time": "2026-01-02T03:04:05Z", "run": "r", "event": "test-painted"}',
        '{"time": "yesterday", "run": "r", "event": "test-said"}',
        '["no", "event"]',
        "null",
    ],
)
def test_a_line_that_is_no_event_is_named_and_costs_no_other(tmp_path: Path, line: str) -> None:
    path = tmp_path / "e"
    path.write_text(f"{line}\n")
    Journal(path, run="r").record(Said("after"))
    assert (said(path), read(path).unreadable) == (["after"], (1,))


def test_no_file_is_no_events(tmp_path: Path) -> None:
    assert read(tmp_path / "nothing") == History()


def test_evidence_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(RunbookError, match=r"cannot write evidence to .*runs/e"):
        Journal(tmp_path / "runs" / "e", run="r").record(Said())


def append_many(path: Path, name: str) -> None:
    for number in range(200):
        Journal(path, run=name).record(Said("x" * 500, number))


def test_processes_that_append_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "e"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_many, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert chain.faults(path, [seal_of(path)]) == []
    assert seal_of(path).lines == 400
    for name in "ab":
        assert [line["number"] for line in lines if line["run"] == name] == list(range(200))


def test_what_is_added_is_told_once_and_a_line_that_is_half_written_when_it_is_whole(
    tmp_path: Path,
) -> None:
    path = tmp_path / "evidence.jsonl"
    tail = Tail(path)
    assert list(tail.new()) == []
    journal = Journal(path, run="r")
    for number in (1, 2):
        journal.record(Said(str(number)))
    assert list(tail.new()) == list(read(path).entries)
    assert list(tail.new()) == []
    journal.record(Said("3"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert list(tail.new()) == []
    path.write_bytes(whole)
    assert list(tail.new()) == [read(path).entries[-1]]
