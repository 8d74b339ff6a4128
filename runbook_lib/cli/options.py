"""Options that several commands have, and what they lead to."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from runbook_lib.base import OutputFormat, ParameterError, RunbookError

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


def _chapters() -> list[str]:
    """Complete the names of notebooks in a shell."""
    from runbook_lib import chapters

    return list(chapters.CHAPTERS)


def _run_folders(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the folders of runs in a shell, the latest first."""
    from runbook_lib.lifecycle import runs

    root = Path(context.params.get("runs") or runs.default_root())
    shown = root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root
    found = sorted(root.glob(f"*/{runs.EVIDENCE}"), reverse=True)
    folders = [str(shown / each.parent.name) for each in found]
    return [each for each in folders if each.startswith(incomplete)]


Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="CHAPTER",
        help="This notebook only, such as 03 or 03_autoscaling; repeat for several.",
        autocompletion=_chapters,
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="CHAPTER",
        help="Begin with this notebook. What the earlier ones made has to be in place.",
        autocompletion=_chapters,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="CHAPTER", help="End with this notebook.", autocompletion=_chapters
    ),
]
Notebooks = Annotated[
    list[str] | None,
    typer.Option(
        "--notebook", metavar="CHAPTER", help="Old spelling of --only.", autocompletion=_chapters
    ),
]
Runs = Annotated[
    str | None,
    typer.Option(
        "--runs",
        metavar="FOLDER|URL",
        help="Where the run's folder is made, or the URL to which it is copied at the end, "
        "such as s3://bucket/runs. Default: runs/.",
    ),
]
RunFolder = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="The folder of a run, or its name.", autocompletion=_run_folders
    ),
]
ApprovePlan = Annotated[
    Path | None,
    typer.Option(
        "--approve-plan",
        metavar="RUN",
        help="Carry out what this run of plan has shown, and nothing else: its folder.",
        autocompletion=_run_folders,
    ),
]
Approve = Annotated[
    str | None,
    typer.Option(help="Name of the cluster: you approve what the plans are by then. Or 'none'."),
]
DetailedExitCode = Annotated[
    bool,
    typer.Option("--detailed-exitcode", help="Exit with 7 if the plan has changes pending."),
]
Operator = Annotated[
    str | None,
    typer.Option(
        envvar="RUNBOOK_OPERATOR",
        help="Who you are, for people; the account is what the cluster says.",
    ),
]
Output = Annotated[
    OutputFormat,
    typer.Option(
        "--output",
        "-o",
        help="json: one document on standard output, and progress on standard error.",
    ),
]


def renamed(old: str, new: str) -> None:
    """Say that an old spelling still works, and what it is called now."""
    typer.echo(f"{old} still works; it is now called: {new}", err=True)


def chosen(
    only: list[str] | None,
    first: str | None = None,
    last: str | None = None,
    notebook: list[str] | None = None,
) -> list[str]:
    """Return the notebooks that these options choose, in order.

    Raises:
        ParameterError: As `runbook_lib.headless.run.choose` does.
    """
    from runbook_lib.headless import run

    if notebook:
        renamed("--notebook", "--only")
    return run.choose([*(only or []), *(notebook or [])], first, last)


def load(file: Path | None, settings: list[str] | None, **more: list[str]) -> Checked:
    """Check the parameters; each option that sets some is named as their origin."""
    from runbook_lib.parameters import layers, loading

    given = {"--set": settings, **more}
    changes = [layers.of_settings(each, name) for name, each in given.items() if each]
    return loading.load(file, changes)


def run_folder(given: Path) -> Path:
    """Return the folder of a run that is named by its path, or by its name alone."""
    from runbook_lib.lifecycle import runs

    return given if given.is_dir() else runs.default_root() / given


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


WaitLock = Annotated[
    int,
    typer.Option(
        "--wait-lock",
        parser=seconds,
        metavar="DURATION",
        help="How long to wait while another run changes the cluster, such as 10m.",
    ),
]
StartLab = Annotated[
    bool, typer.Option("--start-lab", help="Start the lab first, where the target is one.")
]


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
