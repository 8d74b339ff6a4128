"""Commands about earlier runs: their reports, their evidence, and how long they are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from runbook_lib.base import ExitCode, OutputFormat, ParameterError, chain
from runbook_lib.base.journal import Seal
from runbook_lib.cli import documents
from runbook_lib.cli.options import Output, ParametersFile, RunFolder, Settings, load, run_folder

app = typer.Typer(
    help="List and remove the folders of runs; the format of their evidence.", no_args_is_help=True
)

_DAYS = {"d": 1, "w": 7}

Root = Annotated[
    Path | None, typer.Option(help="The folder that holds the folders of runs. Default: runs/.")
]


def report(
    run: RunFolder,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: say whether the evidence is whole.")
    ] = False,
    seal: Annotated[
        str | None,
        typer.Option(help="With --check: LINES:SHA256, as the run printed it, to check by."),
    ] = None,
    by_lease: Annotated[
        bool,
        typer.Option("--lease", help="With --check: check by what the cluster's Lease says, too."),
    ] = False,
    parameters: ParametersFile = None,
    settings: Settings = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Write a run's report and junit.xml anew, from its evidence alone; or check the evidence.

    Exit codes: 0 done, 2 bad input, 10 the evidence is not whole.
    """
    from runbook_lib.headless import junit
    from runbook_lib.lifecycle import runs

    place = run_folder(run)
    if not (place / runs.EVIDENCE).is_file():
        raise ParameterError(f"there is no run in {run}", "name a folder that holds evidence.jsonl")
    if (seal or by_lease) and not check:
        raise ParameterError("--seal and --lease are for --check", "add --check, or leave them out")
    if check:
        noted = [chain.parse(seal)] if seal else []
        noted += _on_the_lease(place, parameters, settings) if by_lease else []
        _check(place, noted, output)
        return
    made = documents.ReportDocument(
        folder=place,
        report=write_report(place),
        junit=junit.write(place, runs.record_of(place)),
        evidence=runs.seal_of(place),
    )
    if output is OutputFormat.JSON:
        typer.echo(made)
        return
    typer.echo(f"Report:   {made.report}")
    typer.echo(f"JUnit:    {made.junit}")
    typer.echo(f"Evidence: {made.evidence}")


def write_report(folder: Path) -> Path:
    """Write a run's report with its timeline; returns the report's path."""
    from runbook_lib.headless import report as page
    from runbook_lib.lifecycle import runs
    from runbook_lib.notebook import timeline
    from runbook_lib.notebook.pictures import timeline_html

    found = timeline.of(runs.record_of(folder))
    return page.write(folder, timeline_html(found) if found.entries else "")


def _on_the_lease(
    folder: Path, parameters: Path | None, settings: list[str] | None
) -> Iterator[Seal]:
    """Yield what the cluster of these parameters has noted of a run's evidence."""
    from runbook_lib.cluster import Cluster
    from runbook_lib.lifecycle import lease, target

    pinned = target.resolve(load(parameters, settings).parameters)
    found = lease.noted(Cluster.of(pinned), folder.resolve().name)
    if found is not None:
        yield found
    else:
        typer.echo(
            f"The Lease of {pinned.name} says nothing of this run: a later one has it.", err=True
        )


def _check(folder: Path, given: list[Seal], output: OutputFormat) -> None:
    from runbook_lib.lifecycle import runs

    noted = runs.noted_seal(folder)
    seals = [*([noted] if noted else []), *given]
    faults = tuple(chain.faults(folder / runs.EVIDENCE, seals))
    seal = runs.seal_of(folder)
    if output is OutputFormat.JSON:
        typer.echo(
            documents.CheckDocument(
                folder=folder, whole=not faults, faults=faults, evidence=seal, seals=len(seals)
            )
        )
        raise typer.Exit(ExitCode.EVIDENCE if faults else ExitCode.DONE)
    for fault in faults:
        typer.echo(f"✗ {fault}")
    if faults:
        raise typer.Exit(ExitCode.EVIDENCE)
    typer.echo(f"✓ The evidence is whole: {seal}")
    if not seals:
        typer.echo(
            f"There is no {runs.SUMMARY} to check its end by; give --seal where you have noted one."
        )


@app.command("list")
def list_runs(root: Root = None, output: Output = OutputFormat.TEXT) -> None:
    """List runs, the latest first: when, on what, and what came of their steps."""
    from rich.console import Console
    from rich.table import Table

    from runbook_lib.headless import keeping
    from runbook_lib.lifecycle import runs

    found = keeping.runs_in(root or runs.default_root())[::-1]
    if output is OutputFormat.JSON:
        typer.echo(documents.of_runs(found))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("run", "cluster", "steps", "state"):
        table.add_column(column, no_wrap=True)
    for kept in found:
        steps = ", ".join(f"{count} {outcome}" for outcome, count in kept.steps.items())
        table.add_row(kept.folder.name, kept.cluster, steps, kept.state)
    Console().print(table)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a line of evidence.jsonl; docs/evidence.md explains it."""
    import json

    from runbook_lib.headless import evidence_schema

    typer.echo(json.dumps(evidence_schema.schema(), indent=2))


@app.command()
def prune(
    keep: Annotated[int | None, typer.Option(min=0, help="Keep the latest N.")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Remove what began longer ago, such as 30d or 8w.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    root: Root = None,
) -> None:
    """Remove the folders of runs; never one of a run that is still going on."""
    from runbook_lib.headless import keeping
    from runbook_lib.lifecycle import runs

    if keep is None and older_than is None:
        raise ParameterError(
            "prune removes nothing without a limit", "give it --keep N, --older-than 30d, or both"
        )
    before = datetime.now(UTC) - _age(older_than) if older_than is not None else None
    place = root or runs.default_root()
    for kept in keeping.to_remove(keeping.runs_in(place), keep=keep, before=before):
        gone = dry_run or keeping.remove(kept.folder)
        verb = ("would go" if dry_run else "removed") if gone else "goes on, so it stays"
        typer.echo(f"{kept.folder.name}: {verb}")


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([dw])", text.strip())
    if found is None:
        raise ParameterError(f"{text!r} is no age", "write it as 30d or 8w")
    return timedelta(days=int(found[1]) * _DAYS[found[2]])
