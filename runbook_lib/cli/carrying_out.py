"""What plan, run and rollback have in common: carry out notebooks, and say what came of it."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from runbook_lib.base import OutputFormat, ParameterError, command_line
from runbook_lib.cli import documents, keeping, session
from runbook_lib.cli.options import run_folder

if TYPE_CHECKING:
    from rich.console import Console

    from runbook_lib.headless.run import Result
    from runbook_lib.parameters import Checked, Parameters


@dataclass(frozen=True)
class Order:
    """What is to be carried out, and how.

    Attributes:
        given: The parameters.
        notebooks: The notebooks, in order.
        runs: The folder of runs' folders, or the URL to which this one is copied.
        output: For whom to print.
        approve: The cluster whose changes are approved, whatever they are by then.
        approve_plan: The folder of the run whose plans are approved.
        wait_lock: Seconds to wait while another run changes the cluster.
        operator: Who that is, for people.
        start_lab: Whether to start the lab, where the target is one.
        detailed: Whether pending changes have an exit code of their own.
        again: The command that carries out what is planned, but for `--approve-plan RUN`.
    """

    given: Checked
    notebooks: list[str]
    runs: str | None = None
    output: OutputFormat = OutputFormat.TEXT
    approve: str | None = None
    approve_plan: Path | None = None
    wait_lock: int = 0
    operator: str | None = None
    start_lab: bool = False
    detailed: bool = False
    again: tuple[str, ...] = ("run",)


def carry_out(order: Order) -> None:
    """Run the notebooks; the command ends with the exit code of the run.

    Raises:
        RunbookError: The run could not begin, or could not be written down.
    """
    stdout = sys.stdout
    if order.output is OutputFormat.JSON:
        # Whatever else is said on the way, by the lab for example, is for people.
        with redirect_stdout(sys.stderr):
            _carry_out(order, stdout)
    else:
        _carry_out(order, None)


def _carry_out(order: Order, document: TextIO | None) -> None:
    from rich.console import Console

    from runbook_lib.headless import junit, progress, signals, storage
    from runbook_lib.headless import run as runner
    from runbook_lib.lifecycle import runs
    from runbook_lib.lifecycle.operators import OPERATOR_VARIABLE
    from runbook_lib.lifecycle.review import files

    checked = order.given.parameters
    reviewed = None
    if order.approve_plan is not None:
        reviewed = _reviewed(order.approve_plan, order.approve, checked)
    if order.operator:
        os.environ[OPERATOR_VARIABLE] = order.operator
    copies = storage.of(order.runs) if order.runs else None
    if order.start_lab:
        session.start_lab(order.given)
    own = Path(order.runs) if order.runs and not copies else runs.default_root()
    folder = runs.create(own)
    if copies:
        copies.begin(folder)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Parameters: {order.given.origin}", markup=False)
    total = len(runner.results(order.notebooks, checked, runs.record_of(folder)))
    signals.handle()
    with progress.follow(folder, total, console):
        result = runner.execute(
            order.notebooks,
            order.given,
            folder,
            approve=order.approve,
            reviewed=reviewed,
            wait_lock=order.wait_lock,
            ahead=lambda each: session.await_programs(each, checked),
        )
        with signals.ignored():
            # Before more is printed: who reads may have gone.
            page = keeping.write_report(folder)
            junit.write(folder, runs.record_of(folder), result.steps, result.failure)
    code = result.exit_code(detailed=order.detailed)
    again = None
    if (folder / files.FOLDER).is_dir():
        again = command_line(*order.again, "--approve-plan", str(folder))
    _show(result, checked, console, page, again)
    copied = None
    try:
        if copies:
            copied = copies.keep(folder)
            console.print(f"Copied to: {copied}", markup=False)
    finally:
        if document is not None:
            found = documents.of_run(result, code, report=page, copied_to=copied, carry_out=again)
            print(found, file=document, flush=True)
    raise typer.Exit(code)


def _show(
    result: Result, checked: Parameters, console: Console, page: Path, again: str | None
) -> None:
    """Print how a run ended, and where everything is."""
    from runbook_lib.headless import interruption, progress
    from runbook_lib.lifecycle import runs
    from runbook_lib.lifecycle.review import files

    folder = result.folder
    lines = [] if result.ended_by else [progress.conclusion(result)]
    if result.went_back:
        lines.append(result.went_back)
    if result.broken_off:
        lines += interruption.describe(runs.record_of(folder), checked)
    console.print()
    console.print(progress.summary_table(result))
    console.print()
    lines += [
        f"Report:    {page}",
        f"Notebooks: {folder}",
        f"Evidence:  {runs.seal_of(folder)}",
    ]
    if again:
        lines.append(
            f"Plans:     {folder / files.FOLDER}; exactly these, once reviewed:\n  {again}"
        )
    for line in lines:
        console.print(line, markup=False)


def _reviewed(run: Path, approve: str | None, checked: Parameters) -> Path:
    """Return the folder of plans that hold for these parameters, before anything is touched."""
    from runbook_lib.lifecycle.review import files

    if checked.mode == "plan" or approve is not None:
        raise ParameterError(
            "--approve-plan approves what was planned and reviewed before, "
            "and goes with neither mode=plan nor --approve",
            "leave one of them out",
        )
    folder = run_folder(run)
    files.read(folder).require(checked)
    return folder.absolute()
