"""Read a YAML file together with the line of every key, refusing what YAML silently accepts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runbook_lib.base.errors import ParameterError, shorten

SAFE_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader in C, for what charts and clusters hold: Istio's CRDs are a megabyte of YAML,
which takes seconds in Python."""

_DEEPEST = 100
"""Levels in a document: no Kubernetes object has as many, and each costs stack."""

_LARGEST = 100_000
"""Values in a document with its aliases written out; a large Helm chart has some thousands."""

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
    data, places = parse(text, str(path))
    if data is None and not places:
        raise ParameterError(f"{path} is empty", "start from a copy of parameters/lab.yaml")
    lines: dict[Location, int] = {}
    duplicates: list[tuple[Location, int]] = []
    written: dict[Location, str] = {}
    for location, line, value in places:
        if location in lines:
            duplicates.append((location, line))
        else:
            lines[location] = line
        if isinstance(value, yaml.ScalarNode) and value.style is None:
            written[location] = value.value
    return Source(data, lines, tuple(duplicates), written, digest(content))


def parse(text: str, name: str) -> tuple[Any, list[tuple[Location, int, yaml.Node]]]:
    """Parse a document; return its plain Python values, and every key and item with its line.

    Args:
        text: YAML.
        name: What people call the text; errors begin with it.

    Raises:
        ParameterError: It is not YAML, or it would not end, or hardly, if it were written out.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None, []
        _refuse_endless(root, name)
        places = list(_walk(root, (), set()))  # before keys are merged into the nodes
        return loader.construct_document(root), places
    except yaml.YAMLError as error:
        raise ParameterError(f"{name} is not YAML: {explain(error)}", _remedy(error)) from error
    except ValueError as error:  # such as the date 2026-13-01
        raise ParameterError(f"{name} is not YAML: {error}", "put the value in quotes") from error
    except RecursionError as error:
        raise _too_deep(name) from error


def _refuse_endless(root: yaml.Node, name: str) -> None:
    """Refuse what grows beyond all measure once its aliases are written out."""
    known: dict[int, int] = {}
    around: set[int] = set()

    def size(node: yaml.Node) -> int:
        """How many values a node is, all aliases in it written out."""
        line = node.start_mark.line + 1
        if id(node) in around:
            raise ParameterError(f"{name}: the anchor in line {line} contains itself", "remove it")
        if id(node) not in known:
            if len(around) >= _DEEPEST:
                raise _too_deep(name)
            around.add(id(node))
            known[id(node)] = 1 + sum(map(size, _inside(node)))
            around.remove(id(node))
        if known[id(node)] > _LARGEST:
            raise ParameterError(
                f"{name}: the aliases from line {line} stand for more than {_LARGEST} values",
                "write out what is meant",
            )
        return known[id(node)]

    size(root)


def _inside(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _too_deep(name: str) -> ParameterError:
    return ParameterError(f"{name} is nested too deeply", "flatten it")


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
