"""Show the runbook's objects: HTML in notebooks, with a twin in plain text everywhere."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from runbook_lib.base import style
from runbook_lib.chapters.autoscaling import ScaleOut
from runbook_lib.chapters.kiali import Login
from runbook_lib.diagnosis import Diagnosis, Transcript
from runbook_lib.lifecycle import (
    Applied,
    Asked,
    GateDecision,
    Plan,
    Proposal,
    Row,
    Table,
    Target,
    Verification,
    yes_no,
)
from runbook_lib.mesh import MeshMap
from runbook_lib.notebook import kernel
from runbook_lib.notebook.asking import Question
from runbook_lib.notebook.overview import Overview, Progress, StepProgress
from runbook_lib.notebook.pictures import mesh_html, scale_out_html, svg, timeline_html
from runbook_lib.notebook.timeline import Timeline
from runbook_lib.notebook.views import diagnosis_html, plan_html, transcript_html
from runbook_lib.parameters import Origin, Parameters

_TABLE_STYLE = style.sheet("table")
_CLASSES = {True: " class='rb-good'", False: " class='rb-bad'", None: ""}


def register() -> None:
    """Teach IPython to show the runbook's objects, and no secrets; nothing outside of IPython."""
    try:
        from IPython.core.getipython import get_ipython
    except ModuleNotFoundError:
        return
    shell: Any = get_ipython()
    if shell is None:
        return
    kernel.mask_outputs(shell)
    formatters = shell.display_formatter.formatters
    trusted = kernel.interactive()
    for kind, to_html in _HTML.items():
        form = partial(_as_images, to_html) if kind in _PICTURES and not trusted else to_html
        formatters["text/html"].for_type(kind, form)
        formatters["text/plain"].for_type(kind, _pretty)
    for kind, show in ((Asked, _show_asked), (Question, _show_question), (Login, _show_login)):
        shell.display_formatter.ipython_display_formatter.for_type(kind, show)


def headline(target: Target, parameters: Parameters, origin: Origin, folder: Path) -> str:
    """Say which cluster a notebook works on, how, and with which interpreter."""
    production = " (production)" if target.production else ""
    mode = "apply" if parameters.mode == "apply" else "plan: nothing will be changed"
    return "\n".join(
        [
            f"Target:     {target.name}{production}",
            f"Server:     {target.server}",
            f"Cluster:    {target.uid}",
            f"Site:       {target.url}",
            f"Parameters: {origin}",
            f"Python:     {sys.executable} ({platform.python_version()})",
            f"Story:      {parameters.story}",
            f"Mode:       {mode}",
            f"Evidence:   {folder}",
        ]
    )


def table_html(table: Table) -> str:
    """A table; words that say whether something is well are tinted too."""
    return f"{_TABLE_STYLE}\n{_table(table)}"


def proposal_html(proposal: Proposal) -> str:
    """A plan with what a person needs to decide about it."""
    step, target = proposal.step, proposal.target
    rows = (
        ("Target", f"{target.name}, {target.server}"),
        ("Why", step.why),
        ("Risk", step.risk),
        ("Undo", step.undo),
        *(("Note", warning) for warning in proposal.warnings),
    )
    facts = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    head = f"<p><b>{escape(step.title)}</b></p><table class='rb-table'>{facts}</table>"
    return f"{_TABLE_STYLE}<div>{head}{plan_html(proposal.plan)}</div>"


def decision_html(decision: GateDecision) -> str:
    """Whether a plan is approved, for which cluster, and by whom."""
    target, approval = decision.target, decision.approval
    by = f" by {escape(approval.by)}" if approval else ""
    tint = _CLASSES[bool(approval) if decision.needed else None]
    return (
        f"{_TABLE_STYLE}<p><span{tint}><b>{escape(decision.verdict.capitalize())}</b></span>{by} "
        f"for {escape(target.name)} ({escape(target.server)}, cluster {escape(target.uid)}). "
        f"{escape(decision.reason)}</p>"
    )


def verification_html(verification: Verification) -> str:
    """What was seen, and what it proves."""
    tables = map(_table, verification.tables)
    return "\n".join([_TABLE_STYLE, *tables, f"<p><b>{escape(verification.headline)}</b></p>"])


def overview_html(overview: Overview) -> str:
    """All steps with links to their notebooks; the state is a sign and a word."""
    columns = ("notebook", "step", "state", "takes", "risk", "undo")
    head = "".join(f"<th>{name}</th>" for name in columns)
    rows = "\n".join(map(_overview_row, overview.rows))
    held = f"<p>{escape(overview.held)}</p>\n" if overview.held else ""
    return (
        f"{_TABLE_STYLE}\n{held}<table class='rb-table'>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>"
    )


def _overview_row(row: StepProgress) -> str:
    step, name = row.step, escape(row.notebook)
    tint = " class='rb-good'" if row.progress is Progress.DONE else ""
    detail = f"<br><small>{escape(row.detail)}</small>" if row.detail else ""
    return (
        f"<tr><td><a href='{name}.ipynb'>{name}</a></td><td>{escape(step.title)}</td>"
        f"<td{tint}><b>{escape(row.progress)}</b>{detail}</td><td>{escape(step.takes)}</td>"
        f"<td>{escape(step.risk)}</td><td>{escape(step.undo)}</td></tr>"
    )


def _table(table: Table) -> str:
    # A line a row: stored outputs are compared, and read as differences.
    if not table.rows:
        return f"<p><b>{escape(table.title)}</b></p><p>none</p>"
    title = f"<caption><b>{escape(table.title)}</b></caption>\n" if table.title else ""
    columns = (*table.columns, "ok") if table.judged else table.columns
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    rows = "\n".join(_row(row, judged=table.judged) for row in table.rows)
    return (
        f"<table class='rb-table'>\n{title}<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>"
    )


def _row(row: Row, *, judged: bool) -> str:
    cells = "".join(f"<td>{escape(text)}</td>" for text in row.cells)
    verdict = f"<td{_CLASSES[row.ok]}>{yes_no(row.ok)}</td>" if judged else ""
    return f"<tr>{cells}{verdict}</tr>"


def _applied_html(applied: Applied) -> str:
    return f"<p><b>{escape(applied.text)}</b></p>"


def asked_html(asked: Asked) -> str:
    """A plan made at its gate, and whether it is approved."""
    return f"{proposal_html(asked.proposal)}\n{decision_html(asked.decision)}"


def _show_asked(asked: Asked) -> None:
    if isinstance(asked.decision, Question):
        _show_question(asked.decision)  # with the plan
        return
    from IPython.display import publish_display_data

    shown = {"text/plain": str(asked), "text/html": asked_html(asked)}
    publish_display_data(shown)  # type: ignore[no-untyped-call] # IPython has no types


def _show_question(question: Question) -> None:
    # Here, so that a kernel without a person in front of it never imports widgets.
    from runbook_lib.notebook import widget

    widget.show(question)


def _show_login(login: Login) -> None:
    from runbook_lib.notebook.views import login as login_view

    login_view.show(login, table_html(login.ways))


def _pretty(shown: object, printer: Any, _cycle: bool) -> None:
    printer.text(str(shown))


def _as_images(to_html: Callable[[Any], str], shown: object) -> str:
    return svg.as_images(to_html(shown))


_PICTURES = (MeshMap, ScaleOut, Timeline)

_HTML: dict[type, Callable[[Any], str]] = {
    Applied: _applied_html,
    GateDecision: decision_html,
    Diagnosis: diagnosis_html,
    MeshMap: mesh_html,
    Overview: overview_html,
    Plan: plan_html,
    Proposal: proposal_html,
    ScaleOut: scale_out_html,
    Table: table_html,
    Timeline: timeline_html,
    Transcript: transcript_html,
    Verification: verification_html,
}
