"""Commands that run the runbook."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runbook_lib.base import (
    FOLDER_VARIABLE,
    NotApproved,
    ParameterError,
    command_line,
    delivered,
    installed,
    working_folder,
)
from runbook_lib.cli import keeping
from runbook_lib.cli.options import Notebooks, ParametersFile, Settings, lab, load, seconds

if TYPE_CHECKING:
    from runbook_lib.parameters import Checked, Parameters


def run(
    parameters: ParametersFile = None,
    settings: Settings = None,
    approve: Annotated[
        str | None,
        typer.Option(
            help="Name of the cluster: you approve what the plans are by then. Or 'none'."
        ),
    ] = None,
    approve_plan: Annotated[
        Path | None,
        typer.Option(
            "--approve-plan",
            metavar="RUN",
            help="Carry out what this run with --plan has shown, and nothing else: its folder.",
        ),
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
    wait_lock: Annotated[
        int,
        typer.Option(
            "--wait-lock",
            parser=seconds,
            metavar="DURATION",
            help="How long to wait while another run changes the cluster, such as 10m.",
        ),
    ] = 0,
    operator: Annotated[
        str | None,
        typer.Option(
            envvar="RUNBOOK_OPERATOR",
            help="Who you are, for people; the account is what the cluster says.",
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
    from runbook_lib.lifecycle.operators import OPERATOR_VARIABLE
    from runbook_lib.lifecycle.review import files

    given = load(parameters, settings, **({"--plan": ["mode=plan"]} if plan else {}))
    checked = given.parameters
    if detailed_exitcode and checked.mode != "plan":
        raise ParameterError(
            "--detailed-exitcode says whether a plan would change something, and this run applies",
            "add --plan, or leave it out",
        )
    notebooks = runner.choose(notebook or [])
    if approve_plan is not None:
        approve_plan = _reviewed(approve_plan, checked, approve)
    if operator:
        os.environ[OPERATOR_VARIABLE] = operator
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
        result = runner.execute(
            notebooks,
            given,
            folder,
            approve=approve,
            reviewed=approve_plan,
            wait_lock=wait_lock,
            ahead=lambda each: _await_programs(each, checked),
        )
        with signals.ignored():
            # Before more is printed: who reads may have gone.
            page = keeping.write_report(folder)
            junit.write(folder, runs.record_of(folder), result.steps, result.failure)
    lines = [] if result.ended_by else [progress.conclusion(result)]
    if result.went_back:
        lines.append(result.went_back)
    if result.broken_off:
        lines += interruption.describe(runs.record_of(folder), checked)
    if checked.mode == "plan":
        again = command_line("run", "--approve-plan", str(folder))
        lines.append(f"Plans:     {folder / files.FOLDER}; exactly these, once reviewed: {again}")
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


def _reviewed(folder: Path, checked: Parameters, approve: str | None) -> Path:
    """Return the folder of plans that hold for these parameters, before anything is touched."""
    from runbook_lib.lifecycle.review import files

    if checked.mode == "plan" or approve is not None:
        raise ParameterError(
            "--approve-plan approves what was planned and reviewed before, "
            "and goes with neither --plan nor --approve",
            "leave one of them out",
        )
    files.read(folder).require(checked)
    return folder.absolute()


def approve(
    run: Annotated[Path, typer.Argument(help="The folder of a run with --plan.")],
    parameters: ParametersFile = None,
    settings: Settings = None,
    operator: Annotated[
        str | None,
        typer.Option(
            envvar="RUNBOOK_OPERATOR",
            help="Who you are, for people; the account is what the cluster says.",
        ),
    ] = None,
) -> None:
    """Approve what a run has planned, as the account of your kubeconfig; changes nothing.

    Give the parameters of that run. Whoever carries the plans out approves them as well; where
    approval.persons asks for two, the other one does so by this command.
    """
    from runbook_lib.cluster import Cluster
    from runbook_lib.lifecycle import Person, person, target
    from runbook_lib.lifecycle.review import files

    checked = load(parameters, settings).parameters
    review = files.read(run)
    review.require(checked)
    pinned = target.resolve(checked)
    if review.clusters != {pinned.uid}:
        raise NotApproved(
            f"run {review.run} was planned on cluster {', '.join(review.clusters)}, "
            f"and {pinned.name} is {pinned.uid}"
        )
    found = person(Cluster.of(pinned))
    approver = Person(found.account, operator or found.name)
    approved = files.approve(run, approver)
    typer.echo(f"{approver} approves the {len(review.plans)} plans of run {review.run}.")
    typer.echo(f"Approved by: {', '.join(sorted(approved.approved_by))}")
    typer.echo(f"Carry them out: {command_line('run', '--approve-plan', str(run))}")


def notebook(context: typer.Context, parameters: ParametersFile = None) -> None:
    """Open the runbook in JupyterLab, on the lab or the cluster that the parameters name.

    Further options go to JupyterLab, such as --ip 0.0.0.0 --no-browser.
    """
    import sys
    from uuid import uuid4

    from runbook_lib.lifecycle.lease import HOLDER_VARIABLE
    from runbook_lib.parameters import FILE_VARIABLE

    given = load(parameters, None)
    typer.echo(f"Parameters: {given.origin}")
    _start_lab(given)
    folder = working_folder()
    session = f"jupyterlab-{uuid4().hex[:8]}"
    variables = {**os.environ, FOLDER_VARIABLE: str(folder), HOLDER_VARIABLE: session}
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


def _await_programs(notebook: str, parameters: Parameters) -> None:
    """Wait for what a notebook needs of the lab and may still be compiled."""
    target = parameters.target
    if notebook == "06_kiali" and target.allows.starts_by_command and parameters.mode == "apply":
        lab().wait_for_addons(target.lab)


def _start_lab(given: Checked) -> None:
    target = given.parameters.target
    if target.allows.starts_by_command:
        lab().up(target.lab)
