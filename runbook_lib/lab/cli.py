"""`python -m runbook_lib lab ...`: the embedded lab on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from runbook_lib.base.errors import ParameterError, RunbookError
from runbook_lib.base.locations import command_line, lab_names
from runbook_lib.base.output import Document, OutputFormat
from runbook_lib.lab.build import archive, behind, binaries
from runbook_lib.lab.foundation.state import (
    alive,
    log_files,
    marked_processes,
    read_state,
)
from runbook_lib.lab.supervision import lifecycle

app = typer.Typer(
    help="The embedded lab: a real mesh from ordinary processes.", no_args_is_help=True
)
console = Console()

Name = Annotated[
    str,
    typer.Option("--name", envvar="RUNBOOK_LAB", help="Which lab; several can run at once."),
]


@app.command()
def build(
    url: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="Fetch what `lab export` wrote elsewhere."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="With --from: the sum that `lab export` has shown.")
    ] = None,
) -> None:
    """Build the lab's binaries into the cache, or fetch them, if they are not there."""
    if (url is None) != (sha256 is None):
        raise ParameterError(
            "--from and --sha256 go together: what is fetched is run on this machine",
            "give both, as `lab export` has shown them",
        )
    with _progress() as progress:
        reporter = _Reporter(progress)
        if url is not None and sha256 is not None and binaries.missing():
            made = archive.fetch(url, sha256, reporter.building)
        else:
            made = binaries.ensure_build(reporter.building)
    console.print(f"binaries: {made.bin}")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The archive to write, such as lab.tar.gz.")],
) -> None:
    """Write the lab's binaries into an archive from which other machines of a team fetch them."""
    digest = archive.export(file)
    console.print(f"{file}: {file.stat().st_size >> 20} MiB, SHA-256 {digest}", soft_wrap=True)
    fetching = command_line("lab", "build", "--from", f"URL/{file.name}", "--sha256", digest)
    console.print(f"on the other machines, from wherever it is served: {fetching}", soft_wrap=True)


@app.command()
def up(
    name: Name = "default",
    application: Annotated[
        Path | None, typer.Option(help="Manifest of an application in place of XNAT's.")
    ] = None,
    keep_connections: Annotated[
        bool,
        typer.Option(
            "--keep-connections",
            help="Have the load balancer use connections again, as a real one does: "
            "a policy then shows as late as there.",
        ),
    ] = False,
    audit: Annotated[
        bool,
        typer.Option(
            "--audit",
            help="Have the API server log who asks for what; read it with: lab logs audit.",
        ),
    ] = False,
) -> None:
    """Start the lab, or find it running; builds its binaries the first time."""
    with _progress() as progress:
        reporter = _Reporter(progress)
        state = lifecycle.up(
            name,
            building=reporter.building,
            doing=reporter.doing,
            application=application,
            keep_connections=keep_connections,
            audit=audit,
        )
    console.print(f"lab {name!r} is ready: the site is at {state.url}")
    console.print(f"kubectl: export KUBECONFIG={state.kubeconfig}", soft_wrap=True)


@app.command()
def down(name: Name = "default") -> None:
    """Stop everything the lab started; nothing of the cluster is kept."""
    stopped = lifecycle.down(name)
    console.print(f"lab {name!r} {'is stopped' if stopped else 'was not running'}")


@dataclass(frozen=True)
class ProcessStatus:
    """A process of the lab; `memory` is in bytes: its proportional share (PSS)."""

    name: str
    pid: int
    memory: int


@dataclass(frozen=True, kw_only=True)
class StatusDocument(Document):
    """What `lab status` says of a lab; all but its name is None or empty if there is none."""

    name: str
    running: bool
    state: str | None = None
    site: str | None = None
    server: str | None = None
    kubeconfig: str | None = None
    istio: tuple[str, ...] = ()
    processes: tuple[ProcessStatus, ...] = ()


@app.command()
def status(
    name: Name = "default",
    output: Annotated[
        OutputFormat, typer.Option("--output", "-o", help="json: one document.")
    ] = OutputFormat.TEXT,
) -> None:
    """Show whether the lab runs, its addresses and its processes; exit code 1 if it does not."""
    state = read_state(name)
    running = state is not None and alive(state)
    if state is None or not running:
        crashed = ", but left traces: 'lab down' clears them" if state else ""
        text = f"lab {name!r} is not running{crashed}"
        nothing = StatusDocument(name=name, running=False)
        typer.echo(nothing if output is OutputFormat.JSON else text)
        raise typer.Exit(1)
    found = StatusDocument(
        name=name,
        running=True,
        state=state.state,
        site=state.url,
        server=state.server,
        kubeconfig=str(state.kubeconfig),
        istio=(state.istio_version, *state.upgrades),
        processes=tuple(_processes(name)),
    )
    if output is OutputFormat.JSON:
        typer.echo(found)
    else:
        _show(found)


def _processes(name: str) -> Iterator[ProcessStatus]:
    for process in marked_processes(name):
        with suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info().pss
            yield ProcessStatus(process.name(), process.pid, memory)


def _show(found: StatusDocument) -> None:
    facts = Table(show_header=False, box=None)
    for key, value in (
        ("lab", f"{found.name} ({found.state})"),
        ("site", found.site),
        ("API server", found.server),
        ("kubeconfig", found.kubeconfig),
        ("Istio", ", then ".join(found.istio)),
    ):
        facts.add_row(key, value)
    console.print(facts)
    table = Table("process", "pid", "memory (PSS)", title="Processes", title_justify="left")
    for process in found.processes:
        table.add_row(process.name, str(process.pid), f"{process.memory >> 20} MiB")
    table.add_section()
    total = sum(process.memory for process in found.processes)
    table.add_row("total", "", f"{total >> 20} MiB")
    console.print(table)


@app.command()
def logs(
    log: Annotated[str, typer.Argument(help="A component or namespace/pod/container.")] = "",
    name: Name = "default",
) -> None:
    """Print a log; without a name, list the logs there are."""
    files = log_files(name)
    if not files:
        known = ", ".join(lab_names())
        raise RunbookError(
            f"there is no lab {name!r}, and no log of one",
            remedy=f"labs that were started: {known}" if known else "start it: lab up",
        )
    if not log:
        console.print("\n".join(files))
        return
    if log not in files:
        raise RunbookError(
            f"lab {name!r} has no log {log!r}",
            remedy=f"choose one of: {', '.join(files)}",
        )
    typer.echo(files[log].read_text(errors="replace"), nl=False)


def wait_for_addons(name: str) -> None:
    """Wait until Kiali, Prometheus and Jaeger have been compiled for a lab, and say how far it is.

    Args:
        name: The lab.
    """

    def tell(said: str) -> None:
        if said:
            console.print(f"waiting for the programs of Kiali and its add-ons: {said}")

    behind.wait(name, tell)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class _Reporter:
    """Shows phases as they come; on a terminal as a bar, elsewhere as a line a phase."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("looking for the lab", total=None)
        self._phase = ""
        self._tenth = -1

    def building(self, phase: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=phase, completed=done, total=total or None)
        tenth = done * 10 // total if total else 0
        if not console.is_terminal and (phase, tenth) != (self._phase, self._tenth):
            console.print(f"{phase} {done}/{total}" if total else phase)
        self._phase, self._tenth = phase, tenth

    def doing(self, phase: str) -> None:
        self.building(phase, 0, 0)
