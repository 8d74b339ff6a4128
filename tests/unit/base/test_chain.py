"""A journal that was tampered with is told from a whole one, and where it was is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runbook_lib.base import chain
from runbook_lib.base.errors import ParameterError
from runbook_lib.base.journal import NO_LINE, Journal, Seal, hash_of, seal_of
from tests.unit.base.test_journal import Said

Lines = list[bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of five lines."""
    for number in range(1, 6):
        Journal(tmp_path / "e", run="r").record(Said(f"event {number}"))
    return tmp_path / "e"


def altered(path: Path, alter: Callable[[Lines], Lines]) -> list[str]:
    sealed = seal_of(path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"".join(line + b"\n" for line in alter(lines)))
    return chain.faults(path, [sealed])


def test_a_whole_journal_has_no_fault_and_its_seal_counts_its_lines(path: Path) -> None:
    last = path.read_bytes().splitlines()[-1]
    assert seal_of(path) == Seal(5, hash_of(last))
    assert chain.faults(path, [seal_of(path), Seal(0, NO_LINE)]) == []


def test_each_line_holds_its_number_and_the_hash_of_the_one_before(path: Path) -> None:
    lines = path.read_bytes().splitlines()
    found = [json.loads(line) for line in lines]
    assert [each["line"] for each in found] == [1, 2, 3, 4, 5]
    assert [each["previous"] for each in found] == [NO_LINE, *map(hash_of, lines[:-1])]
    assert {each["schema"] for each in found} == {1}


def test_a_changed_line_is_named(path: Path) -> None:
    def alter(lines: Lines) -> Lines:
        return [line.replace(b"event 3", b"event X") for line in lines]

    assert altered(path, alter) == ["line 3 was changed"]


def test_a_last_line_that_was_changed_is_told_by_the_seal(path: Path) -> None:
    def alter(lines: Lines) -> Lines:
        return [line.replace(b"event 5", b"event X") for line in lines]

    assert altered(path, alter) == [
        "line 5 is not the one that was sealed: it, or lines before, were changed"
    ]


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [(1, 1, "line 1 is missing"), (2, 3, "lines 2 to 3 are missing"), (4, 4, "line 4 is missing")],
)
def test_lines_that_were_removed_are_named(path: Path, first: int, last: int, said: str) -> None:
    assert altered(path, lambda lines: lines[: first - 1] + lines[last:])[0] == said


def test_an_end_that_is_missing_is_told_by_the_seal(path: Path) -> None:
    assert altered(path, lambda lines: lines[:3]) == [
        "the end is missing: 5 lines were sealed, and 3 are there"
    ]


def test_a_chain_that_was_made_anew_is_told_by_the_seal(path: Path, tmp_path: Path) -> None:
    sealed = seal_of(path)
    for number in (1, 2, 4, 5, 6):
        Journal(tmp_path / "new", run="r").record(Said(f"event {number}"))
    assert chain.faults(tmp_path / "new") == []
    assert len(chain.faults(tmp_path / "new", [sealed])) == 1


def test_lines_that_changed_places_are_noticed(path: Path) -> None:
    assert altered(path, lambda lines: [lines[0], lines[2], lines[1], *lines[3:]])


def test_lines_after_the_seal_are_no_fault(path: Path) -> None:
    sealed = seal_of(path)
    Journal(path, run="r").record(Said("later"))
    assert chain.faults(path, [sealed]) == []


def test_a_line_cut_short_by_a_crash_is_named_and_the_chain_goes_on_after_it(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    Journal(path, run="r").record(Said("after the crash"))
    assert chain.faults(path, [seal_of(path)]) == [
        "line 5 cannot be read: it was changed, or cut short by a crash"
    ]
    assert seal_of(path).lines == 6


def test_a_long_last_line_is_found_whole(path: Path) -> None:
    Journal(path, run="r").record(Said("x" * 300_000))
    Journal(path, run="r").record(Said("after"))
    assert chain.faults(path, [seal_of(path)]) == []


def test_a_seal_is_read_as_it_is_printed(path: Path) -> None:
    assert chain.parse(str(seal_of(path))) == seal_of(path)
    with pytest.raises(ParameterError, match="is not a seal"):
        chain.parse("5:abc")


def test_no_journal_is_a_fault(tmp_path: Path) -> None:
    assert chain.faults(tmp_path / "none") == [f"there is no {tmp_path / 'none'}"]
