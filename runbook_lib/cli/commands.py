"""All commands, and what becomes of their errors."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from runbook_lib.base import ExitCode, NotApproved, ParameterError, RunbookError
from runbook_lib.cli import keeping, looking, running, session
from runbook_lib.cli.options import lab
from runbook_lib.cli.streams import outlive_readers

# Paragraphs, because typer joins the lines of one.
EXIT_CODES = "\n\n".join(["Exit codes:", *(f"{code} {code.meaning}" for code in ExitCode)])


class _Commands(TyperGroup):
    """Adds the lab's commands when they are asked for: a run needs nothing of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands; without what the lab needs there is none."""
        try:
            lab()
        except RunbookError:
            return super().list_commands(ctx)
        return [*super().list_commands(ctx), "lab"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command."""
        if cmd_name != "lab":
            return super().get_command(ctx, cmd_name)
        command = typer.main.get_command(lab().app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Commands,
    help="The Istio runbook: run its notebooks headless, and the lab to try them on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """The Istio runbook: run its notebooks headless, and the lab to try them on."""


app.command(epilog=EXIT_CODES)(running.plan)
app.command(epilog=EXIT_CODES)(running.approve)
app.command(epilog=EXIT_CODES)(running.run)
app.command(epilog=EXIT_CODES)(running.rollback)
app.command()(looking.verify)
app.command()(looking.diagnose)
app.command()(looking.init)
app.command()(looking.rights)
app.command()(looking.export)
app.command()(keeping.report)
app.add_typer(keeping.app, name="runs")
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    session.notebook
)


def main() -> None:
    """Run the command line; an error that the user can act on is a message, not a traceback."""
    outlive_readers()
    try:
        app()
    except RunbookError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        kinds = {ParameterError: ExitCode.BAD_INPUT, NotApproved: ExitCode.NOT_APPROVED}
        raise SystemExit(kinds.get(type(error), ExitCode.FAILED)) from error
