"""Load parameters and check them once: every problem at once, with its place and its remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runbook_lib.base import Location, ParameterError, register, secrets_in
from runbook_lib.parameters import layers
from runbook_lib.parameters.capabilities import CAPABILITIES, LAB_FILE, Capabilities
from runbook_lib.parameters.formats import FOLDER
from runbook_lib.parameters.layers import Layer
from runbook_lib.parameters.model import Parameters
from runbook_lib.parameters.problems import Problem, describe, details_of, of_error, of_number
from runbook_lib.parameters.rules import contradictions

FILE_VARIABLE = "RUNBOOK_PARAMETERS"
"""Names the parameters file of a session where none is given."""


@dataclass(frozen=True)
class SourceFile:
    """A file that parameters were read from.

    Attributes:
        path: Its absolute path.
        digest: SHA-256 of what was read, in hexadecimal.
    """

    path: Path
    digest: str

    def __str__(self) -> str:
        """Path and short digest."""
        return f"{self.path} (sha256 {self.digest[:12]})"


@dataclass(frozen=True)
class Origin:
    """Where parameters come from.

    Attributes:
        files: The files, the one that decides first.
        chosen: Whether somebody named the first file; else it stands in for none.
        changes: What was laid over them: for each place the keys whose values differ.
    """

    files: tuple[SourceFile, ...]
    chosen: bool
    changes: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        """The origin as a line of a headline."""
        text = ", over ".join(map(str, self.files)) or "no file"
        if self.files and not self.chosen:
            text += ", because no file was given"
        for place, keys in self.changes.items():
            text += f"; from {place}: {', '.join(keys)}"
        return text


@dataclass(frozen=True)
class Checked:
    """Parameters that are in order.

    Attributes:
        parameters: The parameters.
        origin: Where they come from.
    """

    parameters: Parameters
    origin: Origin


def load(path: Path | str | None = None, changes: Sequence[Layer] = ()) -> Checked:
    """Read a parameters file, lay changes over it, and check what comes out.

    A target that has defaults of its own, as the lab does, has them laid under the file. Without a
    file, and without changes that name another kind of target, these are the lab's.

    Args:
        path: The file; None: none was given.
        changes: What is laid over it, later ones over earlier ones.

    Raises:
        ParameterError: The parameters cannot be used; the error lists every problem, with its line.
    """
    given = [*([layers.of_file(Path(path))] if path else []), *changes]
    for layer in given:
        _refuse_what_is_no_mapping(layer)
        register_secrets(layer.data)
    given = [_without_empty(layer) for layer in given]
    kind = next((kind for layer in reversed(given) if (kind := _kind(layer))), None)
    if kind is None and not path:
        kind = "lab"
    defaults = _capabilities(kind).defaults
    stack = given
    if defaults is not None and not (path and defaults.samefile(path)):
        stack = [layers.of_file(defaults), *given]
    main = given[0].name if given else str(LAB_FILE)
    folder = Path(path).absolute().parent if path else Path()
    parameters = _check(stack, main, folder, _capabilities(kind))
    return Checked(parameters, _origin(stack, chosen=bool(path)))


def register_secrets(data: Any) -> None:
    """Mask the secrets among parameters, from now on in this process.

    Args:
        data: The parameters, or a part of them, as YAML gives them.
    """
    for secret in secrets_in(data):
        register(secret)


def _refuse_what_is_no_mapping(layer: Layer) -> None:
    if not isinstance(layer.data, Mapping):
        raise ParameterError(
            f"{layer.name} must be a mapping of keys, and is {describe(layer.data)}",
            f"the keys are: {', '.join(Parameters.model_fields)}",
        )


def _without_empty(layer: Layer) -> Layer:
    """Leave out sections without content: a key whose lines are all comments means the default."""
    data = {key: value for key, value in layer.data.items() if value is not None}
    return Layer(layer.name, data, layer.file)


def _kind(layer: Layer) -> Any:
    return layers.at(layer.data, ("target", "kind"))


def _capabilities(kind: Any) -> Capabilities:
    found = CAPABILITIES.get(kind) if isinstance(kind, str) else None
    return found or Capabilities()


def _check(stack: Sequence[Layer], main: str, folder: Path, allows: Capabilities) -> Parameters:
    data: Any = reduce(layers.merged, (layer.data for layer in stack))
    problems = [*_duplicates(stack), *_unfit(data, allows)]
    parameters = None
    try:
        parameters = Parameters.model_validate(data, context={FOLDER: folder})
    except ValidationError as error:
        problems += [of_error(each, _written(stack, each["loc"])) for each in details_of(error)]
    if parameters is not None:
        problems += [
            *_misread(stack, data),
            *(Problem(*rule) for rule in contradictions(parameters)),
        ]
    if problems or parameters is None:
        raise _error(stack, main, problems)
    return parameters


def _duplicates(stack: Sequence[Layer]) -> Iterator[Problem]:
    for layer in stack:
        for location, line in layer.file.duplicates if layer.file else ():
            remedy = f"remove one; the second is in line {line}"
            yield Problem(location, "the key occurs twice", remedy)


def _unfit(data: Any, allows: Capabilities) -> Iterator[Problem]:
    for location, what in allows.refuses.items():
        if layers.at(data, location) is not None:
            yield Problem(location, what, "remove it, or change target.kind")
    for location, (what, remedy) in allows.asks_for.items():
        if not layers.at(data, location):
            yield Problem(location, what, remedy)


def _misread(stack: Sequence[Layer], data: Any) -> Iterator[Problem]:
    for layer in stack:
        for location in layer.file.written if layer.file else ():
            if "values" not in location:  # Helm's: octal numbers are what people mean there
                found = of_number(location, layers.at(data, location), _written(stack, location))
                if found is not None:
                    yield found


def _written(stack: Sequence[Layer], location: Location) -> str | None:
    found = layers.find(stack, location)
    return found.layer.written(location) if found else None


def _error(stack: Sequence[Layer], main: str, problems: Sequence[Problem]) -> ParameterError:
    placed = [(layers.find(stack, found.location), found) for found in problems]
    placed.sort(key=lambda each: (each[0] and each[0].line) or 0)
    count = "1 problem" if len(placed) == 1 else f"{len(placed)} problems"
    text = [f"{count} in {main}:"]
    for place, found in placed:
        where = f"line {place.line}, " if place and place.line else ""
        if place and place.layer.name != main:
            where = f"{place.layer.name} {where}" if where else f"{place.layer.name}, "
        text.append(f"  {where}{layers.dotted(found.location)}: {found.what} → {found.remedy}")
    return ParameterError("\n".join(text), "nothing has been touched; correct this and run again")


def _origin(stack: Sequence[Layer], *, chosen: bool) -> Origin:
    files = [
        SourceFile(Path(layer.name).absolute(), layer.file.digest) for layer in stack if layer.file
    ]
    changes: dict[str, tuple[str, ...]] = {}
    under: Any = {}
    for layer in stack:
        if layer.file is None:
            keys = tuple(map(layers.dotted, layers.differences(under, layer.data)))
            changes |= {layer.name: keys} if keys else {}
        under = layers.merged(under, layer.data)
    return Origin(tuple(reversed(files)), chosen, changes)
