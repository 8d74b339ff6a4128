"""The command line: `python -m runbook_lib`."""

from __future__ import annotations

import importlib
import signal
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from runbook_lib.base import (
    FOLDER_VARIABLE,
    ExitCode,
    ParameterError,
    RunbookError,
    command_line,
    delivered,
    installed,
    working_folder,
)

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

# Paragraphs, because typer joins the lines of one.
EXIT_CODES = "\n\n".join(["Exit codes:", *(f"{code} {code.meaning}" for code in ExitCode)])


class _Commands(TyperGroup):
    """Adds the lab's commands when they are asked for: a run needs nothing of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands; without what the lab needs there is none."""
        try:
            _lab()
        except RunbookError:
            return super().list_commands(ctx)
        return [*super().list_commands(ctx), "lab"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command."""
        if cmd_name != "lab":
            return super().get_command(ctx, cmd_name)
        return typer.main.get_command(_lab().app)


app = typer.Typer(
    cls=_Commands,
    help="The Istio runbook: run its notebooks headless, and the lab to try them on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _root() -> None:
    """The Istio runbook: run its notebooks headless, and the lab to try them on."""


@app.command(epilog=EXIT_CODES)
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
    notebook: Annotated[
        list[str] | None,
        typer.Option(help="Run this notebook only; repeat for several. Default: all, in order."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where the run's folder is made. Default: runs/.")
    ] = None,
    start_lab: Annotated[
        bool, typer.Option("--start-lab", help="Start the lab first, where the target is one.")
    ] = False,
) -> None:
    """Run the notebooks in order, and exit with 0 only if every step was verified."""
    from rich.console import Console

    from runbook_lib.headless import interruption, progress, report
    from runbook_lib.headless import run as runner
    from runbook_lib.lifecycle import runs

    given = _load(parameters, settings, **({"--plan": ["mode=plan"]} if plan else {}))
    checked = given.parameters
    if detailed_exitcode and checked.mode != "plan":
        raise ParameterError(
            "--detailed-exitcode says whether a plan would change something, and this run applies",
            "add --plan, or leave it out",
        )
    notebooks = runner.choose(notebook or [])
    if start_lab:
        _start_lab(given)
    folder = runs.create(output or runs.default_root())
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Parameters: {given.origin}", markup=False)
    total = len(runner.results(notebooks, checked, runs.record_of(folder)))
    signal.signal(signal.SIGTERM, runner.Terminated.handle)
    with progress.follow(folder, total, console):
        result = runner.execute(notebooks, given, folder, approve=approve)
    lines = [] if result.ended_by else [progress.conclusion(result)]
    if result.went_back:
        lines.append(result.went_back)
    if result.broken_off:
        lines += interruption.describe(runs.record_of(folder), checked)
    console.print()
    console.print(progress.summary_table(result))
    console.print()
    for line in (*lines, f"Report:    {report.write(folder)}", f"Notebooks: {folder}"):
        console.print(line, markup=False)
    raise typer.Exit(result.exit_code(detailed=detailed_exitcode))


@app.command()
def diagnose(
    parameters: ParametersFile = None,
    settings: Settings = None,
    kiali_token: Annotated[
        typer.FileText | None,
        typer.Option(help="File with a token that Kiali refuses; - for standard input."),
    ] = None,
) -> None:
    """Say what is wrong with the mesh, why, and what mends it; read-only.

    Exit codes: 0 nothing found, 1 causes found (or the cluster does not answer), 2 bad input.
    """
    import os

    from runbook_lib.base import Journal
    from runbook_lib.cluster import Cluster
    from runbook_lib.diagnosis.diagnose import diagnose as look
    from runbook_lib.lifecycle import Context, target

    given = _load(parameters, settings)
    checked = given.parameters
    pinned = target.resolve(checked)
    nothing_recorded = Journal(Path(os.devnull), run="diagnose")
    token = kiali_token.read().strip() if kiali_token else ""
    if kiali_token and not token:
        raise ParameterError(
            "--kiali-token holds no token", "give a file with one, or leave it out"
        )
    result = look(Context(checked, pinned, Cluster.of(pinned), nothing_recorded), token)
    typer.echo(f"{pinned.name} ({pinned.server}), {pinned.url}")
    typer.echo(f"Parameters: {given.origin}\n")
    typer.echo(str(result))
    raise typer.Exit(ExitCode.DONE if result.healthy else ExitCode.FAILED)


@app.command()
def init(
    namespace: Annotated[str, typer.Option(help="The application's namespace.")],
    context: Annotated[
        str | None, typer.Option(help="The kubeconfig's context; the current one is never taken.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Default: $KUBECONFIG, or ~/.kube/config.")
    ] = None,
    lab: Annotated[str | None, typer.Option(help="A lab by its name, in place of both.")] = None,
    workload: Annotated[
        str | None, typer.Option(help="The web workload as Kind/name, if it cannot be told.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="What users open, if the cluster does not tell, as of a CDN.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where the file goes.")] = Path("my-cluster.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    ask_methods: Annotated[
        bool,
        typer.Option(
            "--ask-methods",
            help="Ask the login page with POST, PUT, DELETE and PATCH as well; "
            "without it their lines are marked CHANGE.",
        ),
    ] = False,
) -> None:
    """Look at an application in its cluster, and write its parameters file, with reasons.

    Nothing is changed: the cluster is read, and the site asked with GET, HEAD and OPTIONS.
    """
    import sys

    from runbook_lib import init as looking

    if (context is None) == (lab is None):
        raise ParameterError(
            "init looks at one cluster", "give it --context CONTEXT, or --lab NAME for a lab"
        )
    looking.refuse_to_replace(output, force=force)
    place = looking.Place(namespace, context, kubeconfig, lab).connect()
    asks = sys.stdin.isatty() and sys.stdout.isatty()
    if asks and not ask_methods:
        ask_methods = typer.confirm(
            "May the page to log in at be asked with POST, PUT, DELETE and PATCH, without a body?"
        )
    try:
        made = looking.draft(place, workload=workload, url=url, other_methods=ask_methods)
    except looking.SeveralWorkloads as error:
        if not (asks and error.candidates):
            raise
        typer.echo(error.cause)
        chosen = typer.prompt("The web workload", default=error.candidates[0])
        made = looking.draft(place, workload=chosen, url=url, other_methods=ask_methods)
    looking.save(made, output, force=force)
    typer.echo(f"{output}: {made.workload} of {namespace}, and it passes its checks")
    for change in made.changes:
        typer.echo(f"CHANGE {change}")
    typer.echo(f"Next: {command_line('run', '--plan', '--parameters', str(output))}")


@app.command()
def rights(
    parameters: ParametersFile = None,
    settings: Settings = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="Only this role: looking, dry-run or a notebook's name; repeatable."),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a table for people in place of manifests.")
    ] = False,
) -> None:
    """Print the roles that accounts need, for `kubectl apply --filename -`; see docs/rights.md."""
    import yaml

    from runbook_lib import chapters
    from runbook_lib.chapters.shared.rights import manifests, page

    roles = chapters.roles(_load(parameters, settings).parameters)
    if unknown := [each for each in role or [] if each not in roles]:
        raise ParameterError(
            f"there is no role {', '.join(unknown)}", f"choose from: {', '.join(roles)}"
        )
    if markdown:
        typer.echo("\n".join(page(roles[each] for each in role or roles)))
        return
    objects = manifests(roles.values(), role or roles)
    typer.echo(yaml.safe_dump_all(objects, sort_keys=False), nl=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def notebook(context: typer.Context, parameters: ParametersFile = None) -> None:
    """Open the runbook in JupyterLab, on the lab or the cluster that the parameters name.

    Further options go to JupyterLab, such as --ip 0.0.0.0 --no-browser.
    """
    import os
    import sys

    from runbook_lib.parameters import FILE_VARIABLE

    given = _load(parameters, None)
    typer.echo(f"Parameters: {given.origin}")
    _start_lab(given)
    folder = working_folder()
    variables = {**os.environ, FOLDER_VARIABLE: str(folder)}
    if parameters is not None:
        variables[FILE_VARIABLE] = str(parameters.absolute())
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


def _load(file: Path | None, settings: list[str] | None, **more: list[str]) -> Checked:
    """Check the parameters; each option that sets some is named as their origin."""
    from runbook_lib.parameters import layers, loading

    given = {"--set": settings, **more}
    changes = [layers.of_settings(each, name) for name, each in given.items() if each]
    return loading.load(file, changes)


def _start_lab(given: Checked) -> None:
    target = given.parameters.target
    if target.allows.starts_by_command:
        _lab().up(target.lab)


def _lab() -> ModuleType:
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


def main() -> None:
    """Run the command line; an error that the user can act on is a message, not a traceback."""
    try:
        app()
    except RunbookError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        bad_input = isinstance(error, ParameterError)
        raise SystemExit(ExitCode.BAD_INPUT if bad_input else ExitCode.FAILED) from error
