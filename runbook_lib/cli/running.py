"""Commands that run the runbook: plan, approve, run, rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from runbook_lib.base import NotApproved, OutputFormat, ParameterError, command_line
from runbook_lib.cli.carrying_out import Order, carry_out
from runbook_lib.cli.options import (
    Approve,
    ApprovePlan,
    DetailedExitCode,
    From,
    Notebooks,
    Only,
    Operator,
    Output,
    ParametersFile,
    RunFolder,
    Runs,
    Settings,
    StartLab,
    To,
    WaitLock,
    chosen,
    load,
    renamed,
    run_folder,
)

_ROLLBACK = "90_rollback"

_OF_OTHERS = ("yaml", "wide", "name", "table", "csv", "junit")
"""What `--output` means to other tools: no folder of these names is meant."""


def run(
    parameters: ParametersFile = None,
    settings: Settings = None,
    approve: Approve = None,
    approve_plan: ApprovePlan = None,
    first: From = None,
    last: To = None,
    only: Only = None,
    runs: Runs = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="[text|json]",
            help="json: one document on standard output, and progress on standard error.",
        ),
    ] = OutputFormat.TEXT,
    wait_lock: WaitLock = 0,
    operator: Operator = None,
    start_lab: StartLab = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Old spelling of plan.")] = False,
    detailed_exitcode: DetailedExitCode = False,
    notebook: Notebooks = None,
) -> None:
    """Run the notebooks in order, and exit with 0 only if every step was verified."""
    form, runs = _form(output, runs)
    planned = {"--plan": ["mode=plan"]} if plan_only else {}
    given = load(parameters, settings, **planned)
    if plan_only:
        renamed("run --plan", "plan")
    if detailed_exitcode and given.parameters.mode != "plan":
        raise ParameterError(
            "--detailed-exitcode says whether a plan would change something, and this run applies",
            "use the command plan, or leave it out",
        )
    notebooks = chosen(only, first, last, notebook)
    if notebooks == [_ROLLBACK] and not plan_only:
        renamed(f"run of {_ROLLBACK}", "rollback")
    order = Order(
        given,
        notebooks,
        runs=runs,
        output=form,
        approve=approve,
        approve_plan=approve_plan,
        wait_lock=wait_lock,
        operator=operator,
        start_lab=start_lab,
        detailed=detailed_exitcode,
        again=_again(notebooks, parameters, settings, (only or []) + (notebook or []), first, last),
    )
    carry_out(order)


def plan(
    parameters: ParametersFile = None,
    settings: Settings = None,
    first: From = None,
    last: To = None,
    only: Only = None,
    detailed_exitcode: DetailedExitCode = False,
    runs: Runs = None,
    output: Output = OutputFormat.TEXT,
    start_lab: StartLab = False,
) -> None:
    """Show what a run would change; changes nothing, and writes the plans down for review."""
    given = load(parameters, settings, plan=["mode=plan"])
    notebooks = chosen(only, first, last)
    order = Order(
        given,
        notebooks,
        runs=runs,
        output=output,
        start_lab=start_lab,
        detailed=detailed_exitcode,
        again=_again(notebooks, parameters, settings, only, first, last),
    )
    carry_out(order)


def rollback(
    parameters: ParametersFile = None,
    settings: Settings = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="CHAPTER",
            help="The last chapter that stays; what came after it is taken back.",
            autocompletion=lambda: _kept(),
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Take everything back, as --to 00_start_here does.")
    ] = False,
    approve: Approve = None,
    approve_plan: ApprovePlan = None,
    runs: Runs = None,
    output: Output = OutputFormat.TEXT,
    wait_lock: WaitLock = 0,
    operator: Operator = None,
) -> None:
    """Take back what the runbook has done, the last chapter first, down to one that stays.

    See beforehand what would go: plan --only 90_rollback --set rollback.keep=CHAPTER.
    """
    from runbook_lib.headless.run import named

    if to is not None and everything:
        raise ParameterError("--all goes without --to", "leave one of them out")
    keep = named(to) if to is not None else _kept()[0] if everything else None
    choice = {"rollback": [f"rollback.keep={keep}"]} if keep is not None else {}
    given = load(parameters, settings, **choice)
    chooses = "keep" in given.parameters.rollback.model_fields_set
    if not chooses and approve_plan is None:
        raise ParameterError(
            "rollback does not say how far to go back",
            f"name the last chapter that stays, --to CHAPTER, one of {', '.join(_kept())}; "
            "or take everything back: --all",
        )
    order = Order(
        given,
        [_ROLLBACK],
        runs=runs,
        output=output,
        approve=approve,
        approve_plan=approve_plan,
        wait_lock=wait_lock,
        operator=operator,
        again=_again([_ROLLBACK], parameters, [*(settings or []), *choice.get("rollback", [])]),
    )
    carry_out(order)


def approve(
    run: RunFolder,
    parameters: ParametersFile = None,
    settings: Settings = None,
    operator: Operator = None,
) -> None:
    """Approve what a run has planned, as the account of your kubeconfig; changes nothing.

    Give the parameters of that run. Whoever carries the plans out approves them as well; where
    approval.persons asks for two, the other one does so by this command.
    """
    from runbook_lib.cluster import Cluster
    from runbook_lib.lifecycle import Person, person, target
    from runbook_lib.lifecycle.review import files

    run = run_folder(run)
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


def _kept() -> list[str]:
    """The chapters down to which can be rolled back."""
    from runbook_lib import chapters

    return chapters.kept()


def _form(output: str, runs: str | None) -> tuple[OutputFormat, str | None]:
    """Tell a format from a folder or URL, which `--output` named once, and `--runs` does now."""
    if output in list(OutputFormat):
        return OutputFormat(output), runs
    if output in _OF_OTHERS or runs is not None:
        raise ParameterError(
            f"--output {output}: there is no such format",
            "choose text or json; the folder of runs is named by --runs",
        )
    renamed("--output FOLDER", "--runs FOLDER")
    return OutputFormat.TEXT, output


def _again(
    notebooks: list[str],
    parameters: object,
    settings: list[str] | None,
    only: list[str] | None = None,
    first: str | None = None,
    last: str | None = None,
) -> tuple[str, ...]:
    """Return the command, to which `--approve-plan RUN` is added, that carries out a plan."""
    words = ["rollback" if notebooks == [_ROLLBACK] else "run"]
    words += ["--parameters", str(parameters)] if parameters else []
    for setting in settings or []:
        words += ["--set", _masked(setting)] if not setting.startswith("mode=") else []
    if words[0] == "run":
        words += ["--from", first] if first else []
        words += ["--to", last] if last else []
        words += [word for name in only or [] for word in ("--only", name)]
    return tuple(words)


def _masked(setting: str) -> str:
    """A setting without a value that is secret."""
    from runbook_lib.base import redact_value
    from runbook_lib.parameters import layers

    data = layers.of_settings([setting]).data
    key = setting.partition("=")[0]
    return setting if redact_value(data) == data else f"{key}=…"
