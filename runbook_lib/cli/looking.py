"""Commands that change nothing in a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runbook_lib.base import ExitCode, OutputFormat, ParameterError, command_line
from runbook_lib.cli import documents
from runbook_lib.cli.options import (
    From,
    Notebooks,
    Only,
    Output,
    ParametersFile,
    Settings,
    To,
    chosen,
    load,
)


def diagnose(
    parameters: ParametersFile = None,
    settings: Settings = None,
    kiali_token: Annotated[
        typer.FileText | None,
        typer.Option(help="File with a token that Kiali refuses; - for standard input."),
    ] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Say what is wrong with the mesh, why, and what mends it; read-only.

    Exit codes: 0 nothing found, 1 causes found (or the cluster does not answer), 2 bad input.
    """
    from runbook_lib.diagnosis.diagnose import diagnose as look
    from runbook_lib.lifecycle import Context, target

    given = load(parameters, settings)
    checked = given.parameters
    pinned = target.resolve(checked)
    token = kiali_token.read().strip() if kiali_token else ""
    if kiali_token and not token:
        raise ParameterError(
            "--kiali-token holds no token", "give a file with one, or leave it out"
        )
    result = look(Context.unrecorded(checked, pinned, "diagnose"), token)
    if output is OutputFormat.JSON:
        typer.echo(
            documents.DiagnosisDocument(
                cluster=pinned.name,
                server=pinned.server,
                url=pinned.url,
                parameters=str(given.origin),
                healthy=result.healthy,
                **result.document,
            )
        )
    else:
        typer.echo(f"{pinned.name} ({pinned.server}), {pinned.url}")
        typer.echo(f"Parameters: {given.origin}\n")
        typer.echo(str(result))
    raise typer.Exit(ExitCode.DONE if result.healthy else ExitCode.FAILED)


def verify(
    parameters: ParametersFile = None,
    settings: Settings = None,
    first: From = None,
    last: To = None,
    only: Only = None,
    runs_folder: Annotated[
        Path | None,
        typer.Option("--runs", help="Folder of earlier runs' folders. Default: runs/."),
    ] = None,
    output: Output = OutputFormat.TEXT,
    notebook: Notebooks = None,
) -> None:
    """Say which steps hold no longer, what differs and who changed it; read-only.

    Exit codes: 0 all hold, 1 something cannot be told (or the diagnosis finds a fault), 2 bad
    input, 6 drift.
    """
    from runbook_lib.diagnosis.drift import verify as look
    from runbook_lib.lifecycle import Context, runs, target

    given = load(parameters, settings)
    notebooks = chosen(only, first, last, notebook)
    pinned = target.resolve(given.parameters)
    context = Context.unrecorded(given.parameters, pinned, "verify")
    records = runs.records_on(runs_folder or runs.default_root(), pinned.uid)
    verdict = look(context, records, notebooks)
    if output is OutputFormat.JSON:
        typer.echo(documents.VerdictDocument(parameters=str(given.origin), **verdict.document))
    else:
        typer.echo(f"{pinned.name} ({pinned.server}), {pinned.url}")
        typer.echo(f"Parameters: {given.origin}\n")
        typer.echo(str(verdict))
    raise typer.Exit(verdict.exit_code)


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
    typer.echo(f"Next: {command_line('plan', '--parameters', str(output))}")


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

    roles = chapters.roles(load(parameters, settings).parameters)
    if unknown := [each for each in role or [] if each not in roles]:
        raise ParameterError(
            f"there is no role {', '.join(unknown)}", f"choose from: {', '.join(roles)}"
        )
    if markdown:
        typer.echo("\n".join(page(roles[each] for each in role or roles)))
        return
    objects = manifests(roles.values(), role or roles)
    typer.echo(yaml.safe_dump_all(objects, sort_keys=False), nl=False)


def export(
    folder: Annotated[Path, typer.Argument(help="Where the files go: new, empty, or an export.")],
    parameters: ParametersFile = None,
    settings: Settings = None,
) -> None:
    """Write what the runbook leaves in the cluster as manifests and Helm values for Git.

    Nothing is changed in the cluster. A folder with files of others is refused.
    """
    from runbook_lib import export as exporting
    from runbook_lib.lifecycle import Context, target

    given = load(parameters, settings)
    pinned = target.resolve(given.parameters)
    exported = exporting.collect(Context.unrecorded(given.parameters, pinned, "export"))
    files = exporting.files(exported)
    changed = exporting.write(files, folder)
    typer.echo(f"{pinned.name} ({pinned.server}), {given.origin}")
    typer.echo(f"{folder}: {len(files)} files, {len(changed)} of them new, changed or removed")
    for each in exported.left_out:
        typer.echo(f"Left out, because it holds a secret: {each}")
    typer.echo(f"Next: read {folder / 'README.md'}")
