"""Parameters in layers: a file over the lab's, and over both what was set for one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbook_lib.base import Location, ParameterError, shorten, yaml_source

_REPLACED = {("application", "web", "labels")}
"""Mappings that are one value: labels of another application would select nothing together."""

_ABSENT = object()

_DEPTH = 3
"""How far keys are told apart where differences are named, such as `application.web.port`."""


@dataclass(frozen=True)
class Layer:
    """Values from one place.

    Attributes:
        name: What people call the place: a path, `--set`, a notebook.
        data: The values by key, as YAML gives them.
        file: The source, where it is a file.
    """

    name: str
    data: Any
    file: yaml_source.Source | None = field(default=None, repr=False)

    def line(self, location: Location) -> int | None:
        """The line of a key, where there are lines."""
        return self.file.lines.get(location) if self.file else None

    def written(self, location: Location) -> str | None:
        """A value without quotes as it is written, where that is known."""
        return self.file.written.get(location) if self.file else None


@dataclass(frozen=True)
class Place:
    """Where a value comes from.

    Attributes:
        layer: The layer whose value counts.
        location: The value, or what is nearest around one that is missing.
    """

    layer: Layer
    location: Location

    @property
    def line(self) -> int | None:
        """The line, where there are lines."""
        return self.layer.line(self.location)


def find(stack: Sequence[Layer], location: Location) -> Place | None:
    """Find where a value comes from; None where nothing around it is set.

    Args:
        stack: The layers, the lowest first.
        location: The value, which may be missing.
    """
    found: Place | None = None
    for layer in reversed(stack):
        depth = _depth(layer.data, location)
        if depth and (found is None or depth > len(found.location)):
            found = Place(layer, location[:depth])
        if depth == len(location) or _hides(layer.data, location[:depth]):
            break
    return found


def _depth(data: Any, location: Location) -> int:
    """How many parts of a location there are."""
    for depth in range(len(location)):
        if at(data, location[: depth + 1], _ABSENT) is _ABSENT:
            return depth
    return len(location)


def _hides(data: Any, location: Location) -> bool:
    """Whether a value, or one around it, is laid over others as a whole."""
    around = [location[:depth] for depth in range(len(location) + 1)]
    return any(here in _REPLACED or not isinstance(at(data, here), Mapping) for here in around)


def of_file(path: Path) -> Layer:
    """Read a layer from a file.

    Raises:
        ParameterError: The file is missing, unreadable, empty, not UTF-8 or not YAML.
    """
    source = yaml_source.read(path)
    return Layer(str(path), source.data, source)


def of_settings(settings: Sequence[str], name: str = "--set") -> Layer:
    """Make a layer of settings such as `timeouts.rollout=900`, whose values are YAML.

    Raises:
        ParameterError: One has no `=`, or its value is not YAML.
    """
    data: dict[str, Any] = {}
    for setting in settings:
        keys, sign, text = setting.partition("=")
        if not sign or not all(keys.split(".")):
            raise ParameterError(
                f"{name} {setting!r} is no setting", "write it as timeouts.rollout=900"
            )
        value, _ = yaml_source.parse(text, f"the value of {name} {shorten(setting)!r}")
        for key in reversed(keys.split(".")):
            value = {key: value}
        data = merged(data, value)
    return Layer(name, data)


def merged(under: Any, over: Any, location: Location = ()) -> Any:
    """Lay values over others: mappings key by key, everything else as a whole."""
    if not isinstance(under, Mapping) or not isinstance(over, Mapping) or location in _REPLACED:
        return over
    return {
        **under,
        **{
            key: merged(under[key], value, (*location, key)) if key in under else value
            for key, value in over.items()
        },
    }


def differences(under: Any, over: Any, location: Location = ()) -> Iterator[Location]:
    """Yield the keys in `over` whose values differ from those that they are laid over."""
    if isinstance(over, Mapping) and len(location) < _DEPTH:
        known = under if isinstance(under, Mapping) else {}
        for key, value in over.items():
            yield from differences(known.get(key), value, (*location, key))
    elif over is not None and under != over:
        yield location


def at(data: Any, location: Location, absent: Any = None) -> Any:
    """Return the value at a location, or `absent` where there is none."""
    for part in location:
        inside = isinstance(part, int) and part < len(data) if isinstance(data, list) else False
        if not inside and not (isinstance(data, Mapping) and part in data):
            return absent
        data = data[part]
    return data


def dotted(location: Location) -> str:
    """Write a location as people do: `application.probes[0].path`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
