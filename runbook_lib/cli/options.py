"""Options that several commands have, and what they lead to."""

from __future__ import annotations

import importlib
import re
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from runbook_lib.base import ParameterError, RunbookError

if TYPE_CHECKING:
    from runbook_lib.parameters import Checked

ParametersFile = Annotated[
    Path | None,
    typer.Option(
        "--parameters",
        "-f",
        envvar="RUNBOOK_PARAMETERS",
        help="Parameters file. Default: parameters/lab.yaml.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE over the file, as in timeouts.rollout=900; repeatable."),
]


def _notebooks() -> list[str]:
    """Complete the names of notebooks in a shell."""
    from runbook_lib import chapters

    return list(chapters.CHAPTERS)


Notebooks = Annotated[
    list[str] | None,
    typer.Option(
        "--notebook",
        help="This notebook only; repeat for several. Default: all, in order.",
        autocompletion=_notebooks,
    ),
]


class OutputFormat(StrEnum):
    """What a command prints."""

    TEXT = "text"
    JSON = "json"


def load(file: Path | None, settings: list[str] | None, **more: list[str]) -> Checked:
    """Check the parameters; each option that sets some is named as their origin."""
    from runbook_lib.parameters import layers, loading

    given = {"--set": settings, **more}
    changes = [layers.of_settings(each, name) for name, each in given.items() if each]
    return loading.load(file, changes)


def seconds(text: str | int) -> int:
    """Read a duration as Go writes it, such as `90s`, `10m` or `1h30m`; a number is of seconds.

    Raises:
        ParameterError: It is none.
    """
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", str(text).strip())
    if not found or not any(found.groups()):
        raise ParameterError(f"{text!r} is no duration", "write it as 90s, 10m or 1h30m")
    hours, minutes, rest = (int(each or 0) for each in found.groups())
    return 3600 * hours + 60 * minutes + rest


def lab() -> ModuleType:
    """The lab's commands.

    Raises:
        RunbookError: What the lab needs is not installed.
    """
    try:
        return importlib.import_module("runbook_lib.lab.cli")
    except ModuleNotFoundError as error:
        raise RunbookError(
            f"the lab is not installed: {error.name} is missing",
            "install it: pip install 'istio-runbook[lab,go]'; a cluster needs none of it, and is "
            "named by --parameters FILE",
        ) from error
