"""Load and check parameters: every problem at once, with its place and its remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from runbook_lib.base import Location, ParameterError, yaml_source
from runbook_lib.parameters.model import RELEASED_CHARTS, RELEASED_KIALI_CHARTS, Parameters
from runbook_lib.parameters.rules import contradictions

__all__ = ["Parameters", "from_mapping", "load"]

_KIND_OF_VALUE = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "tuple_type": "a list",
    "path_type": "a path",
}


@dataclass(frozen=True)
class _Problem:
    location: Location
    what: str
    remedy: str


def load(path: Path | str) -> Parameters:
    """Load a parameters file.

    Raises:
        ParameterError: The file cannot be used; the error lists every problem with its line.
    """
    source = yaml_source.read(Path(path))
    problems = [
        _Problem(location, "the key occurs twice", f"remove one; the second is in line {line}")
        for location, line in source.duplicates
    ]
    return _validate(source.data, str(path), source.lines, problems)


def from_mapping(data: Mapping[str, Any], source: str = "the parameters") -> Parameters:
    """Check parameters that are Python values, such as a notebook's variables.

    Args:
        data: Values by top-level key; None means the default.
        source: Where they come from, for messages.

    Raises:
        ParameterError: They cannot be used; the error lists every problem.
    """
    return _validate(data, source, {}, [])


def _validate(
    data: Any, source: str, lines: Mapping[Location, int], problems: list[_Problem]
) -> Parameters:
    if not isinstance(data, Mapping):
        raise ParameterError(
            f"{source} must be a mapping of keys, and is {_describe(data)}",
            f"the keys are: {', '.join(Parameters.model_fields)}",
        )
    given = {key: value for key, value in data.items() if value is not None}
    given.setdefault("target", {})  # its default depends on the environment: check it in its place
    parameters = None
    try:
        parameters = Parameters.model_validate(_with_cluster_defaults(given))
    except ValidationError as error:
        problems += [_problem(detail) for detail in error.errors(include_url=False)]
    if parameters is not None:
        problems += [_Problem(*rule) for rule in contradictions(parameters)]
    if problems or parameters is None:
        raise _error(source, lines, problems)
    return parameters


def _with_cluster_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what defaults differently on a cluster: the models' defaults are the lab's."""
    target, istio = data.get("target"), data.get("istio", {})
    if not isinstance(target, Mapping) or target.get("kind") != "cluster":
        return dict(data)
    filled = dict(data)
    filled.setdefault("story", "safe")
    filled["target"] = _fill(target, {"production": True})
    if isinstance(istio, Mapping):
        istiod = istio.get("istiod", {})
        if isinstance(istiod, Mapping):
            istiod = _fill(istiod, {"values": {}})
        filled["istio"] = {
            **_fill(istio, {"chart_repository": RELEASED_CHARTS}),
            "istiod": istiod,
        }
    kiali = data.get("kiali", {})
    if isinstance(kiali, Mapping):
        # Nothing is exposed without TLS unless it is asked for.
        defaults = {"chart_repository": RELEASED_KIALI_CHARTS, "exposure": "cluster"}
        filled["kiali"] = _fill(kiali, defaults)
    return filled


def _fill(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, **{key: value for key, value in defaults.items() if given.get(key) is None}}


def _error(source: str, lines: Mapping[Location, int], problems: list[_Problem]) -> ParameterError:
    ordered = sorted(problems, key=lambda found: _line(found.location, lines) or 0)
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    text = [f"{count} in {source}:"]
    for found in ordered:
        line = _line(found.location, lines)
        place = f"line {line}, " if line else ""
        text.append(f"  {place}{_dotted(found.location)}: {found.what} → {found.remedy}")
    return ParameterError("\n".join(text), "nothing has been touched; correct this and run again")


def _line(location: Location, lines: Mapping[Location, int]) -> int | None:
    """The line of a key, or of the nearest mapping around a key that is missing."""
    while location:
        if location in lines:
            return lines[location]
        location = location[:-1]
    return None


def _dotted(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _problem(detail: ErrorDetails) -> _Problem:
    """Put one of pydantic's errors into words; see https://docs.pydantic.dev/latest/errors/."""
    location, kind, value = detail["loc"], detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "parameter":
        return _Problem(location, context["what"], context["remedy"])
    if kind == "extra_forbidden":
        known = list(_model_at(location[:-1]).model_fields)
        return _Problem(location, "unknown key", _did_you_mean(str(location[-1]), known))
    if kind == "missing":
        return _Problem(location, "the key is missing", "add it")
    if kind == "literal_error":
        choices = list(_choices(context["expected"]))
        return _Problem(
            location,
            f"must be one of {', '.join(choices)}, and is {_describe(value)}",
            _did_you_mean(str(value), choices),
        )
    if kind in _KIND_OF_VALUE:
        wanted = _KIND_OF_VALUE[kind]
        return _Problem(
            location, f"must be {wanted}, and is {_describe(value)}", _type_remedy(kind, value)
        )
    return _Problem(location, f"{detail['msg']}, and is {_describe(value)}", "correct the value")


def _type_remedy(kind: str, value: Any) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'put it in quotes: "{value}"'
    if kind in ("int_type", "bool_type") and isinstance(value, str):
        return "write it without quotes" if kind == "int_type" else "write true or false, unquoted"
    return "correct the value"


def _describe(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f"the text {value!r}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"{value!r}"


def _did_you_mean(word: str, known: list[str]) -> str:
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), folded, n=1)
    hint = f"did you mean {folded[close[0]]!r}? " if close else ""
    return f"{hint}possible: {', '.join(known)}"


def _choices(expected: str) -> Iterator[str]:
    for part in expected.replace(" or ", ", ").split(", "):
        yield part.strip("'")


def _model_at(location: Location) -> type[BaseModel]:
    """The model that describes the mapping at `location`."""
    model: type[BaseModel] = Parameters
    for part in location:
        if isinstance(part, str):
            model = next(_models(model.model_fields[part].annotation))
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
