"""docs/guide.md leaves out no claim, and names no cell that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from runbook_lib.base.locations import repository_root

ROOT = repository_root()
ROWS = [
    tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
    for line in (ROOT / "docs" / "guide.md").read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]
CELL = re.compile(r"`(\w+)#([\w-]+)`")


def cells(notebook: str) -> set[str]:
    path: Path = ROOT / "notebooks" / f"{notebook}.ipynb"
    return {cell["id"] for cell in nbformat.read(path, as_version=4).cells}


def test_the_numbers_have_no_gap() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, len(ROWS) + 1))


@pytest.mark.parametrize("row", ROWS, ids=[number for number, *_ in ROWS])
def test_each_claim_is_done_by_a_cell_or_has_a_reason(row: tuple[str, ...]) -> None:
    _, claim, done, reason = row
    assert claim
    assert CELL.fullmatch(done) or (not done and reason)


def test_every_cell_that_is_named_is_there() -> None:
    named = {found for row in ROWS for found in CELL.findall(" ".join(row))}
    assert len(named) > 30
    assert sorted(cell for cell in named if cell[1] not in cells(cell[0])) == []


def test_every_chapter_is_reached() -> None:
    named = {notebook for row in ROWS for notebook, _ in CELL.findall(" ".join(row))}
    every = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert named == every - {"08_upgrade"}, "the guide ends with the first day"
