"""Find out whether a journal is whole: each line holds its number and the hash of the one before.

The chain shows what was changed or removed in it. Whoever rewrites all lines from some point on
makes a whole chain again, and whoever removes the end leaves one: a seal that was noted elsewhere
shows these, such as the one that a run printed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from runbook_lib.base.errors import ParameterError
from runbook_lib.base.journal import NO_LINE, SCHEMA, Seal, hash_of


def parse(text: str) -> Seal:
    """Read a seal as it is printed.

    Raises:
        ParameterError: It is none.
    """
    found = re.fullmatch(r"(\d+):([0-9a-f]{64})", text.strip())
    if found is None:
        raise ParameterError(
            f"{text!r} is not a seal", "write it as the run printed it: LINES:SHA256"
        )
    return Seal(int(found[1]), found[2])


def faults(path: Path, seals: Sequence[Seal] = ()) -> list[str]:
    """Return what is wrong with the journal at `path`, a sentence each; nothing if it is whole.

    Args:
        path: The journal.
        seals: What was noted of it elsewhere; lines that came later are no fault.
    """
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        return [f"there is no {path}"]
    lines = text.split(b"\n")
    rest = lines.pop()
    if rest:
        lines.append(rest)
    return [*_in_chain(lines), *(fault for seal in seals for fault in _of_seal(lines, seal))]


def _in_chain(lines: Sequence[bytes]) -> Iterator[str]:
    previous, removed = NO_LINE, 0
    for place, line in enumerate(lines, start=1):
        number = place + removed
        try:
            fields = json.loads(line)
            own, pointer, schema = int(fields["line"]), fields["previous"], fields["schema"]
        except (ValueError, TypeError, KeyError):
            yield f"line {number} cannot be read: it was changed, or cut short by a crash"
            previous = hash_of(line)
            continue
        if schema != SCHEMA:
            yield f"line {number} is of schema {schema}, and this version knows {SCHEMA}"
        if own > number:
            yield f"{_numbered(number, own - 1)} missing"
            removed += own - number
        elif own < number:
            yield f"line {own} stands where line {number} should"
            removed += own - number
        elif pointer != previous:
            yield f"line {number - 1} was changed" if place > 1 else "line 1 was changed"
        previous = hash_of(line)


def _of_seal(lines: Sequence[bytes], seal: Seal) -> Iterator[str]:
    if seal.lines > len(lines):
        yield f"the end is missing: {seal.lines} lines were sealed, and {len(lines)} are there"
    elif seal.lines and hash_of(lines[seal.lines - 1]) != seal.sha256:
        yield f"line {seal.lines} is not the one that was sealed: it, or lines before, were changed"


def _numbered(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"
