"""Parameters files of every kind, made from what the parameters declare: right, wrong and odd."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from runbook_lib.base.locations import repository_root
from runbook_lib.parameters import layers
from runbook_lib.parameters.model import Parameters

Values = st.SearchStrategy[Any]

_FOLDER = repository_root() / "parameters"
GOOD = [yaml.safe_load(path.read_text()) for path in sorted(_FOLDER.glob("*.yaml"))]
"""What every file begins as."""

ODD_TEXTS = st.text(max_size=30) | st.sampled_from(
    [
        *(
            "",
            " ",
            "~",
            "null",
            "yes",
            "NO",
            "0x1F",
            "010",
            "1_000",
            "1e3",
            ".nan",
            "20:30",
            "=",
            "<<",
        ),
        *("2026-13-01", "2026-11-27", "x" * 5000, "/" * 300, "~nobody/x", "../..", "a\0b", "a\tb"),
        *("${HOME}", "{{ x }}", "{what}", "%s", "http://[", "http://[::1", "https://u:p@h", "::1"),
        *(
            "https://a:99999",
            "https://ä.example.com",
            "a:b:c",
            "-" * 64,
            "Ünï-cödé",
            "\u202e",
            "\u2028",
        ),
        *(
            "\U0001f600",
            "\ufeff",
            "*",
            "&a",
            "!!int 3",
            "| x",
            "> x",
            "# x",
            "a: b",
            "- a",
            "'",
            '"',
        ),
    ]
)

ODD_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | ODD_TEXTS | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(ODD_TEXTS | st.integers() | st.none() | st.dates(), inner, max_size=3)
    ),
    max_leaves=5,
)

ODD_YAML = st.sampled_from(
    [
        "story: safe\nstory: documented\n",
        "<<: {story: safe}\n",
        "<<: [1, 2]\n",
        "application: &a\n  web: *a\n",
        "kiali: &k\n  spec: {again: *k}\n",
        "istio: {istiod: {values: &v {a: [*v, *v]}}}\n",
        "a: &a [x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nkiali: {spec: {x: [*c, *c]}}\n",
        "timeouts: *nowhere\n",
        "\tstory: safe\n",
        "application:\n\tnamespace: x\n",
        "? [a, b]\n: c\n",
        "? {a: b}\n: c\n",
        "application: {? [a]: b}\n",
        "application: {1: 2, null: 3, true: 4, 2026-01-01: 5, 1.5: 6}\n",
        "kiali: {spec: {1: 2, null: 3, 2026-01-01: 5}}\n",
        "application: !!set {a, b}\n",
        "application: {plaintext_ports: !!set {1, 2}}\n",
        "application: {namespace: !!binary aGFs}\n",
        "application: {web: {labels: !!omap [a: b]}}\n",
        "application: {namespace: !!python/object/apply:os.system [ls]}\n",
        "timeouts: {rollout: !!timestamp 2026-01-01}\n",
        "timeouts: {rollout: !!int x}\n",
        "timeouts: {rollout: 99999999999999999999999999}\n",
        "timeouts: {rollout: 1:30}\n",
        "timeouts: {rollout: .inf, probe: .nan}\n",
        "timeouts: {rollout: " + "9" * 5000 + "}\n",
        "approval: {window: {days: [mon], begin: 20:30, end: 04:00}}\n",
        "approval: {window: {days: [], begin: '20:30', end: '04:00', timezone: ../etc/passwd}}\n",
        "--- \nstory: safe\n",
        "...\n",
        "%YAML 9.9\n---\n",
        "%TAG ! tag:example.com,2026:\n",
        "kiali: {spec: " + "[" * 400 + "]" * 400 + "}\n",
        "kiali: {spec: " + "{a: " * 60 + "1" + "}" * 60 + "}\n",
        "istio: {istiod: {values: {global: x, pilot: [], meshConfig: 3, telemetry: null}}}\n",
        "'unfinished\n",
        "`\n",
        "- a list\n",
        "just text\n",
        "# comment only\n",
    ]
)
"""Added at an end of a file."""


@dataclass(frozen=True)
class Place:
    """A key that is declared.

    Attributes:
        keys: The way to it.
        shown: Values that it has in files that work.
        declared: What its type allows, and what is close to that.
    """

    keys: tuple[str, ...]
    shown: tuple[Any, ...]
    declared: Values


def _places(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[Place]:
    for name, field in model.model_fields.items():
        keys = (*above, name)
        shown = (layers.at(file, keys) for file in GOOD)
        declared = _of_type(field.annotation, field.metadata)
        yield Place(keys, tuple(value for value in shown if value is not None), declared)
        for inner in _models(field.annotation):
            yield from _places(inner, keys)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the model of a section: not those of a list's items, which have no key of their own."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated):
        for argument in get_args(annotation):
            yield from _models(argument)


def _of_type(annotation: Any, metadata: list[Any]) -> Values:
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        return _of_type(arguments[0], [*metadata, *_flat(arguments[1:])])
    if origin in (Union, UnionType):
        return st.one_of(*(_of_type(each, metadata) for each in arguments))
    if origin is Literal:
        return st.sampled_from([*arguments, arguments[0].upper(), f"{arguments[-1]}s"])
    if origin is tuple:
        return st.lists(_of_type(arguments[0], []), max_size=3)
    if origin is dict:
        return st.dictionaries(ODD_TEXTS, ODD_VALUES, max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return st.fixed_dictionaries(
            {}, optional={name: _of_type(each.annotation, each.metadata) for name, each in fields}
        )
    if annotation is bool:
        return st.booleans()
    if annotation in (int, float):
        lowest = next((each.ge for each in metadata if hasattr(each, "ge")), -1)
        highest = next((each.le for each in metadata if hasattr(each, "le")), 10**6)
        edges = [lowest, highest, lowest - 1, highest + 1, lowest + 0.5, math.inf]
        return st.sampled_from(edges) | st.integers(lowest, highest)
    return st.none() if annotation is type(None) else ODD_TEXTS | st.sampled_from(_SHOWN_TEXTS)


def _flat(metadata: tuple[Any, ...]) -> list[Any]:
    return [
        one
        for each in metadata
        for one in (each.metadata if isinstance(each, FieldInfo) else [each])
    ]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for child in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from _texts(child)


_SHOWN_TEXTS = sorted({text for file in GOOD for text in _texts(file)})
"""Right in one place, and wrong in most others."""

PLACES = list(_places(Parameters))


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A file that works, with some of its keys changed, added or removed."""
    data = copy.deepcopy(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from(PLACES))
        *above, name = place.keys
        parent = reduce(_section, above, data)
        change = draw(
            st.sampled_from([*["shown"] * 3, *["declared"] * 2, "odd", "unknown", "removed"])
        )
        if change == "shown" and place.shown:
            parent[name] = copy.deepcopy(draw(st.sampled_from(place.shown)))
        elif change == "declared":
            parent[name] = draw(place.declared)
        elif change == "odd":
            parent[name] = draw(ODD_VALUES)
        elif change == "unknown":
            parent[draw(st.sampled_from([f"{name}s", name.upper(), 1, None, True]) | ODD_TEXTS)] = 1
        else:
            parent.pop(name, None)
    return data


def _section(parent: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(parent.get(name), dict):
        parent[name] = {}
    found: dict[str, Any] = parent[name]
    return found


def _otherwise(content: bytes) -> list[bytes]:
    """What other editors and systems make of a file."""
    text = content.decode()
    return [
        content.replace(b"\n", b"\r\n"),
        content.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + content,
        text.encode("utf-16"),
        text.encode("latin-1", "replace"),
        content.replace(b"  ", b"\t"),
        content + content,
        content + b"\0",
        b"",
    ]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """The bytes of a parameters file."""
    text = yaml.dump(
        draw(documents()),
        Dumper=yaml.CSafeDumper,
        sort_keys=draw(st.booleans()),
        allow_unicode=draw(st.booleans()),
        default_flow_style=draw(st.sampled_from([None, False])),
    )
    if draw(st.integers(0, 3)) == 0:
        added = draw(ODD_YAML)
        text = draw(st.sampled_from([text + added, added + text, added]))
    content = text.encode("utf-8", "replace")
    change = draw(st.sampled_from([*["none"] * 7, "cut", "inserted", "other"]))
    place = int(draw(st.floats(0, 1)) * len(content))
    if change == "cut":
        return content[:place]
    if change == "inserted":
        return content[:place] + draw(st.binary(min_size=1, max_size=4)) + content[place:]
    return draw(st.sampled_from(_otherwise(content))) if change == "other" else content
