"""The report of a run: one self-contained HTML page, made from its record alone."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from runbook_lib.base import style
from runbook_lib.lifecycle import Record, runs, yes_no


def render(run: Record) -> str:
    """The report as an HTML page; everything from the record is escaped."""
    from jinja2 import Environment, StrictUndefined  # takes a while to import

    source = (
        resources.files("runbook_lib.headless").joinpath("templates/report.html.j2").read_text()
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["yes_no"] = yes_no
    template = environment.from_string(source)
    return template.render(run=run, hues=style.HUES, tints=style.TINTS)


def write(run_folder: Path) -> Path:
    """Write `report.html` beside the run's evidence; returns its path."""
    path = run_folder / "report.html"
    with runs.written_to(run_folder):
        path.write_text(render(runs.record_of(run_folder)), encoding="utf-8")
    return path
