"""Read a YAML file together with the line of every key, refusing what YAML silently accepts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runbook_lib.base.errors import ParameterError, shorten

Location = tuple[str | int, ...]
"""Keys and list indexes from the top of the document."""


@dataclass(frozen=True)
class Source:
    """A parsed document.

    Attributes:
        data: The document as plain Python values.
        lines: Line numbers, from 1, by location.
        duplicates: Keys that occur twice in one mapping, with the line of the second.
        written: Values without quotes as they are written, by location: YAML may read another.
        digest: SHA-256 of the file's bytes, in hexadecimal.
    """

    data: Any
    lines: dict[Location, int]
    duplicates: tuple[tuple[Location, int], ...]
    written: dict[Location, str]
    digest: str


def read(path: Path) -> Source:
    """Read `path`.

    Raises:
        ParameterError: The file is missing, unreadable, empty, not UTF-8 or not YAML.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        raise ParameterError(
            f"cannot read {shorten(str(path))}: {error.strerror}",
            "name an existing file, such as parameters/lab.yaml",
        ) from error
    except UnicodeDecodeError as error:
        raise ParameterError(
            f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8"
        ) from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not YAML: {explain(error)}", _remedy(error)) from error
    except ValueError as error:  # such as the date 2026-13-01
        raise ParameterError(f"{path} is not YAML: {error}", "put the value in quotes") from error
    except RecursionError as error:
        raise ParameterError(f"{path} is nested too deeply", "flatten it") from error
    if root is None:
        raise ParameterError(f"{path} is empty", "start from a copy of parameters/lab.yaml")
    lines: dict[Location, int] = {}
    duplicates: list[tuple[Location, int]] = []
    written: dict[Location, str] = {}
    for location, line, value in _walk(root, (), set()):
        if location in lines:
            duplicates.append((location, line))
        else:
            lines[location] = line
        if isinstance(value, yaml.ScalarNode) and value.style is None:
            written[location] = value.value
    return Source(data, lines, tuple(duplicates), written, digest(content))


def digest(content: bytes) -> str:
    """Return the digest by which a file's content is recognised: SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _walk(
    node: yaml.Node, location: Location, visited: set[int]
) -> Iterator[tuple[Location, int, yaml.Node]]:
    """Yield every key and list item with line and value; a key that is there twice comes twice.

    An aliased node is entered once: aliases may repeat, or contain themselves, without end.
    """
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            yield (*location, name), key.start_mark.line + 1, value
            if name not in seen:
                seen.add(name)
                yield from _walk(value, (*location, name), visited)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*location, index), item.start_mark.line + 1, item
            yield from _walk(item, (*location, index), visited)


def explain(error: yaml.YAMLError) -> str:
    """Say what is wrong with a text, and where in it."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        parts = [part for part in (error.context, error.problem) if part]
        return f"line {mark.line + 1}, column {mark.column + 1}: {': '.join(parts)}"
    return " ".join(str(error).split())


def _remedy(error: yaml.YAMLError) -> str:
    if "'\\t'" in str(error):
        return "indent with spaces: YAML forbids tabs"
    return "correct the line; texts with ': ' or '#' need quotes"
