"""The lines of a parameters file: each with its reason above it, and CHANGE where one is needed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

MARK = "CHANGE"
"""Begins the comment of a line that a person has to look at."""

_WIDTH = 100


@dataclass(frozen=True)
class Line:
    """A value with its reason.

    Attributes:
        keys: Where it stands; empty for an element of a list.
        value: The value, as YAML has it; a tuple of lines for a list whose elements have reasons.
        reason: Why it is so.
        change: What a person has to do about it; empty if nothing.
    """

    keys: tuple[str, ...]
    value: Any
    reason: str
    change: str = ""

    @property
    def changes(self) -> Iterator[str]:
        """What there is to do, each with its place."""
        if self.change:
            yield f"{'.'.join(self.keys) or _flow(self.value)}: {self.change}"
        if isinstance(self.value, tuple):
            for each in self.value:
                for what in each.changes:
                    yield f"{'.'.join(self.keys)}: {what}"


def render(lines: Sequence[Line], head: Sequence[str]) -> str:
    """Return the file's text.

    Args:
        lines: Its lines; those of one section stand together.
        head: Paragraphs for the top of the file.
    """
    text = [*_comment("\n".join(head), ""), ""]
    above: tuple[str, ...] = ()
    for line in lines:
        section = line.keys[:-1]
        shared = 0
        while shared < min(len(section), len(above)) and section[shared] == above[shared]:
            shared += 1
        if not shared and above:
            text.append("")
        text += [f"{'  ' * depth}{section[depth]}:" for depth in range(shared, len(section))]
        text += _line(line, "  " * len(section))
        above = section or line.keys
    return "\n".join(text) + "\n"


def _line(line: Line, indent: str) -> Iterator[str]:
    said = f"{MARK}: {line.change}\n{line.reason}" if line.change else line.reason
    yield from _comment(said, indent)
    key = f"{line.keys[-1]}:" if line.keys else "-"
    if isinstance(line.value, tuple) and line.value:
        yield f"{indent}{key}"
        for each in line.value:
            yield from _line(each, f"{indent}  ")
    else:
        value = [] if line.value == () else line.value
        yield f"{indent}{key} {_flow(value)}"


def _comment(text: str, indent: str) -> Iterator[str]:
    for paragraph in filter(None, text.split("\n")):
        # What is quoted from a cluster may hold whatever YAML reads as the end of a line.
        for line in textwrap.wrap(
            " ".join(paragraph.split()),
            _WIDTH - len(indent) - 2,
            break_long_words=False,
            break_on_hyphens=False,
        ):
            yield f"{indent}# {line}"


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")
