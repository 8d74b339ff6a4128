"""The command line: `istio-runbook`, or `python -m runbook_lib`."""

from runbook_lib.cli.commands import app, main

__all__ = ["app", "main"]
