"""Show the runbook's objects: HTML in notebooks, with a twin in plain text everywhere.

Colours only repeat what a word or sign says already, and are tints over the theme's own text
colour, so both work in light and dark themes.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from runbook_lib.gate import Decision
from runbook_lib.lifecycle import Applied, Proposal
from runbook_lib.parameters import Parameters
from runbook_lib.plan import Change, Plan
from runbook_lib.step import Verification
from runbook_lib.table import Table
from runbook_lib.target import Target

_GOOD = "background:rgba(46,160,67,.18)"
_BAD = "background:rgba(248,81,73,.22)"
_TINTS = {"yes": _GOOD, "NO": _BAD}
_LEFT = "text-align:left"
_DIFF_TINTS = {"+": _GOOD, "-": _BAD}
_LONG_DIFF = 40
"""Lines from which a change is folded."""


def register() -> None:
    """Teach IPython to show the runbook's objects; does nothing outside of IPython."""
    try:
        from IPython.core.getipython import get_ipython
    except ModuleNotFoundError:
        return
    shell: Any = get_ipython()
    if shell is None:
        return
    formatters = shell.display_formatter.formatters
    for kind, to_html in _HTML.items():
        formatters["text/html"].for_type(kind, to_html)
        formatters["text/plain"].for_type(kind, _pretty)


def headline(target: Target, parameters: Parameters, folder: Path) -> str:
    """Say which cluster a notebook works on, and how."""
    production = " (production)" if target.production else ""
    mode = "apply" if parameters.mode == "apply" else "plan: nothing will be changed"
    return "\n".join(
        [
            f"Target:   {target.name}{production}",
            f"Server:   {target.server}",
            f"Cluster:  {target.uid}",
            f"Site:     {target.url}",
            f"Story:    {parameters.story}",
            f"Mode:     {mode}",
            f"Evidence: {folder}",
        ]
    )


def table_html(table: Table) -> str:
    """A table; words that say whether something is well are tinted too."""
    title = (
        f"<caption style='{_LEFT}'><b>{escape(table.title)}</b></caption>" if table.title else ""
    )
    head = "".join(f"<th style='{_LEFT}'>{escape(name)}</th>" for name in table.columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def plan_html(plan: Plan) -> str:
    """A plan: each change with its difference, long ones folded."""
    if plan.empty:
        return f"<p><b>{escape(plan.summary)}</b></p>"
    count = "1 change" if len(plan.changes) == 1 else f"{len(plan.changes)} changes"
    parts = [f"<p><b>{count}</b> <small>(plan {plan.digest[:12]})</small></p>"]
    if plan.note:
        parts.append(f"<p>{escape(plan.note)}</p>")
    parts += map(_change_html, plan.changes)
    parts += [f"<p>Cannot be predicted: {escape(item)}</p>" for item in plan.unpredictable]
    return "".join(parts)


def proposal_html(proposal: Proposal) -> str:
    """A plan with what a person needs to decide about it."""
    step, target = proposal.step, proposal.target
    rows = (
        ("Target", f"{target.name}, {target.server}"),
        ("Why", step.why),
        ("Risk", step.risk),
        ("Undo", step.undo),
    )
    facts = "".join(
        f"<tr><th style='{_LEFT}'>{name}</th><td style='{_LEFT}'>{escape(text)}</td></tr>"
        for name, text in rows
    )
    head = f"<p><b>{escape(step.title)}</b></p><table>{facts}</table>"
    return f"<div>{head}{plan_html(proposal.plan)}</div>"


def decision_html(decision: Decision) -> str:
    """Whether a plan is approved, for which cluster, and by whom."""
    target, approval = decision.target, decision.approval
    by = f" by {escape(approval.by)}" if approval else ""
    tint = "" if decision.plan.empty else _GOOD if approval else _BAD
    return (
        f"<p><span style='{tint}'><b>{escape(decision.verdict.capitalize())}</b></span>{by} "
        f"for {escape(target.name)} ({escape(target.server)}, cluster {escape(target.uid)}). "
        f"{escape(decision.reason)}</p>"
    )


def verification_html(verification: Verification) -> str:
    """What was seen, and what it proves."""
    tables = "".join(map(table_html, verification.tables))
    return f"<div>{tables}<p><b>{escape(verification.headline)}</b></p></div>"


def _cell(text: str) -> str:
    tint = _TINTS.get(text, "")
    return f"<td style='{';'.join(filter(None, (_LEFT, tint)))}'>{escape(text)}</td>"


def _change_html(change: Change) -> str:
    lines = change.text.splitlines()
    body = "\n".join(map(_diff_line, lines))
    block = f"<pre style='margin:.3em 0 .8em 1em'>{body}</pre>"
    name = f"<b>{escape(change.action)}</b> <code>{escape(change.ref)}</code>"
    state = "" if len(lines) > _LONG_DIFF else " open"
    return f"<details{state}><summary>{name}</summary>{block}</details>"


def _diff_line(line: str) -> str:
    tint = "" if line.startswith(("+++", "---")) else _DIFF_TINTS.get(line[:1], "")
    return f"<span style='{tint}'>{escape(line)}</span>" if tint else escape(line)


def _applied_html(applied: Applied) -> str:
    return f"<p><b>{escape(applied.text)}</b></p>"


def _pretty(shown: object, printer: Any, _cycle: bool) -> None:
    printer.text(str(shown))


_HTML: dict[type, Callable[[Any], str]] = {
    Applied: _applied_html,
    Decision: decision_html,
    Plan: plan_html,
    Proposal: proposal_html,
    Table: table_html,
    Verification: verification_html,
}
