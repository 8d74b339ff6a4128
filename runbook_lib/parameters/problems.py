"""Pydantic's errors in the words of who wrote the parameters: what is wrong, and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from runbook_lib.base import Location
from runbook_lib.parameters.model import Parameters

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
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)")

Contradiction = tuple[Location, str, str]
"""Where, what is wrong, and the remedy."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with the parameters.

    Attributes:
        location: Where.
        what: What is wrong.
        remedy: What to do about it.
    """

    location: Location
    what: str
    remedy: str


def details_of(error: ValidationError) -> Iterator[ErrorDetails]:
    """Yield pydantic's errors, but not that a list is too short because of the items refused."""
    details = error.errors(include_url=False)
    for detail in details:
        place = detail["loc"]
        inside = (each["loc"] for each in details if each is not detail)
        if detail["type"] != "too_short" or all(at[: len(place)] != place for at in inside):
            yield detail


def of_error(detail: ErrorDetails, written: str | None) -> Problem:
    """Put one of pydantic's errors into words; see https://docs.pydantic.dev/latest/errors/.

    Args:
        detail: The error.
        written: The value as it is written in YAML without quotes; None where that is unknown.
    """
    location, kind, value = detail["loc"], detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "parameter":
        return Problem(location, context["what"], context["remedy"])
    if kind == "extra_forbidden":
        known = list(_model_at(location[:-1]).model_fields)
        return Problem(location, "unknown key", did_you_mean(str(location[-1]), known))
    if kind == "invalid_key":
        return Problem(location, "the key is not text", "put it in quotes, or remove it")
    if kind == "too_short":
        return Problem(location, f"needs at least {context['min_length']} item", "add one")
    if kind == "missing":
        return Problem(location, "the key is missing", _remedy_of_missing(location))
    if kind == "literal_error":
        choices = list(_choices(context["expected"]))
        return Problem(
            location,
            f"must be one of {', '.join(choices)}, and is {_read(value, written)}",
            did_you_mean(str(value), choices),
        )
    if kind == "string_type" and isinstance(value, bool | int | float):
        return _of_unquoted(location, value, written)
    if kind in _KIND_OF_VALUE:
        needed = _KIND_OF_VALUE[kind]
        return Problem(
            location, f"must be {needed}, and is {_read(value, written)}", _type_remedy(kind, value)
        )
    return Problem(
        location, f"{detail['msg']}, and is {_read(value, written)}", "correct the value"
    )


def of_number(location: Location, value: Any, written: str | None) -> Problem | None:
    """Refuse a number that YAML 1.1 reads as another one than people do, such as 010 for 8."""
    if type(value) is not int or written is None or _DECIMAL.fullmatch(written):
        return None
    return Problem(
        location, f"YAML reads {written} as the number {value}", f"write {value}, or what is meant"
    )


def did_you_mean(word: str, known: list[str]) -> str:
    """Suggest the closest of the words that are known, and list them."""
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), folded, n=1)
    hint = f"did you mean {folded[close[0]]!r}? " if close else ""
    return f"{hint}possible: {', '.join(known)}"


def describe(value: Any) -> str:
    """Say what a value is, as it would be written in YAML."""
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


def _read(value: Any, written: str | None) -> str:
    if written is None or value is None or isinstance(value, str) or written == describe(value):
        return describe(value)
    return f"{written}, which YAML reads as {describe(value)}"


def _of_unquoted(location: Location, value: Any, written: str | None) -> Problem:
    """A text that YAML took for something else: quotes help, if the text is a good one."""
    text = describe(value) if written is None else written
    refused = _refusal(location, text)
    if refused is not None:
        return Problem(location, refused.what, refused.remedy)
    what = f"must be text, and is {_read(value, written)}"
    return Problem(location, what, f'put it in quotes: "{text}"')


def _refusal(location: Location, text: str) -> Problem | None:
    """What would be wrong with a text in this place."""
    name = location[-1]
    model = _model_at(location[:-1])
    field = model.model_fields.get(str(name))
    if field is None:  # an item of a list, or a key that is free
        return None
    try:
        annotation: Any = Annotated[field.annotation, field]
        TypeAdapter(annotation).validate_python(text)
    except ValidationError as error:
        return of_error({**error.errors()[0], "loc": location}, None)
    return None


def _remedy_of_missing(location: Location) -> str:
    if location in (("target",), ("target", "kind")):
        return "write target: {kind: cluster, context: NAME}, or target: {kind: lab}"
    return "add it"


def _type_remedy(kind: str, value: Any) -> str:
    if kind == "int_type" and isinstance(value, str):
        text = value.strip()
        if text.isascii() and text.isdigit():
            return f"write it without quotes: {int(text)}"
        return "write a whole number, such as 60"
    if kind == "int_type" and isinstance(value, float):
        return f"write a whole number, such as {value:.0f}"
    if kind == "bool_type" and isinstance(value, str):
        return "write true or false, unquoted"
    return "correct the value"


def _choices(expected: str) -> Iterator[str]:
    for part in expected.replace(" or ", ", ").split(", "):
        yield part.strip("'")


def _model_at(location: Location) -> type[BaseModel]:
    """The model that describes the mapping at `location`."""
    model: type[BaseModel] = Parameters
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_models(model.model_fields[part].annotation), model)
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
