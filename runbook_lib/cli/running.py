"""Commands that run the runbook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runbook_lib.base import FOLDER_VARIABLE, ParameterError, delivered, installed, working_folder
from runbook_lib.cli import keeping
from runbook_lib.cli.options import Notebooks, ParametersFile, Settings, lab, load

if TYPE_CHECKING:
    from runbook_lib.parameters import Checked


def run(
    parameters: ParametersFile = None,
    settings: Settings = None,
    approve: Annotated[
        str | None,
        typer.Option(help="Name of the cluster whose changes you approve, or 'none'."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Change nothing: show what would be changed.")
    ] = False,
    detailed_exitcode: Annotated[
        bool,
        typer.Option(
            "--detailed-exitcode", help="With --plan: exit with 7 if changes are pending."
        ),
    ] = False,
    notebook: Notebooks = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Where the run's folder is made, or the URL to which it is copied at the end, "
            "such as s3://bucket/runs. Default: runs/."
        ),
    ] = None,
    start_lab: Annotated[
        bool, typer.Option("--start-lab", help="Start the lab first, where the target is one.")
    ] = False,
) -> None:
    """Run the notebooks in order, and exit with 0 only if every step was verified."""
    from rich.console import Console

    from runbook_lib.headless import interruption, junit, progress, signals, storage
    from runbook_lib.headless import run as runner
    from runbook_lib.lifecycle import runs

    given = load(parameters, settings, **({"--plan": ["mode=plan"]} if plan else {}))
    checked = given.parameters
    if detailed_exitcode and checked.mode != "plan":
        raise ParameterError(
            "--detailed-exitcode says whether a plan would change something, and this run applies",
            "add --plan, or leave it out",
        )
    notebooks = runner.choose(notebook or [])
    copies = storage.of(output) if output else None
    if start_lab:
        _start_lab(given)
    folder = runs.create(Path(output) if output and not copies else runs.default_root())
    if copies:
        copies.begin(folder)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Parameters: {given.origin}", markup=False)
    total = len(runner.results(notebooks, checked, runs.record_of(folder)))
    signals.handle()
    with progress.follow(folder, total, console):
        result = runner.execute(notebooks, given, folder, approve=approve)
        with signals.ignored():
            # Before more is printed: who reads may have gone.
            page = keeping.write_report(folder)
            junit.write(folder, runs.record_of(folder), result.steps, result.failure)
    lines = [] if result.ended_by else [progress.conclusion(result)]
    if result.went_back:
        lines.append(result.went_back)
    if result.broken_off:
        lines += interruption.describe(runs.record_of(folder), checked)
    console.print()
    console.print(progress.summary_table(result))
    console.print()
    for line in (
        *lines,
        f"Report:    {page}",
        f"Notebooks: {folder}",
        f"Evidence:  {runs.seal_of(folder)}",
    ):
        console.print(line, markup=False)
    if copies:
        console.print(f"Copied to: {copies.keep(folder)}", markup=False)
    raise typer.Exit(result.exit_code(detailed=detailed_exitcode))


def notebook(context: typer.Context, parameters: ParametersFile = None) -> None:
    """Open the runbook in JupyterLab, on the lab or the cluster that the parameters name.

    Further options go to JupyterLab, such as --ip 0.0.0.0 --no-browser.
    """
    import os
    import sys

    from runbook_lib.parameters import FILE_VARIABLE

    given = load(parameters, None)
    typer.echo(f"Parameters: {given.origin}")
    _start_lab(given)
    folder = working_folder()
    variables = {**os.environ, FOLDER_VARIABLE: str(folder)}
    if parameters is not None:
        variables[FILE_VARIABLE] = str(parameters.absolute())
    # The notebooks ask for `python3`; one that somebody put on the path may be of an environment
    # without the runbook.
    own_kernel = str(Path(sys.prefix, "share", "jupyter"))
    variables["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, [own_kernel, os.environ.get("JUPYTER_PATH")])
    )
    if installed():
        _copy_notebooks(folder)
    argv = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}"]
    # In most containers everybody is root, and JupyterLab refuses without this.
    argv += ["--allow-root"] if os.geteuid() == 0 else []
    argv += [*context.args, "notebooks/00_start_here.ipynb"]
    os.chdir(folder)
    os.execve(sys.executable, argv, variables)


def _copy_notebooks(folder: Path) -> None:
    """Give people copies of their own, to edit; what they have stays as it is."""
    import shutil

    for name in ("notebooks", "parameters"):
        if (folder / name).exists():
            typer.echo(f"{name}/ stays as it is: {folder / name}")
        else:
            shutil.copytree(delivered() / name, folder / name)
            typer.echo(f"{name}/ was copied to {folder / name}")


def _start_lab(given: Checked) -> None:
    target = given.parameters.target
    if target.allows.starts_by_command:
        lab().up(target.lab)
