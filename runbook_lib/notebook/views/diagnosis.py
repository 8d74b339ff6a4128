"""Show a diagnosis as HTML: a card for each cause, then what was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from runbook_lib.base import style
from runbook_lib.diagnosis import Cause, Diagnosis, Look, Transcript, details
from runbook_lib.lifecycle import Severity

_STYLE = style.sheet("diagnosis")

_CODE = ("Evidence", "Remedy")


def diagnosis_html(diagnosis: Diagnosis) -> str:
    """A diagnosis: the verdict, causes as cards, and what was looked at, folded."""
    parts = [f"<p><b>{escape(diagnosis.headline)}</b></p>"]
    parts += [_card(number, each) for number, each in enumerate(diagnosis.findings, 1)]
    parts.append(_looks("Looked at", diagnosis.looked, opened=False))
    if diagnosis.unseen:
        parts.append(_looks("Could not look at", diagnosis.unseen, opened=True))
    if diagnosis.unjudged:
        names = ", ".join(diagnosis.unjudged)
        parts.append(f"<p>Not judged for lack of that: {escape(names)}</p>")
    body = "\n".join(parts)
    return f"{_STYLE}<div class='rb-diagnosis'>\n{body}\n</div>"


def transcript_html(transcript: Transcript) -> str:
    """A command line and its output, as in a terminal."""
    return f"{_STYLE}<div class='rb-transcript'><pre>{escape(str(transcript))}</pre></div>"


def _card(number: int, finding: Cause) -> str:
    todo = " rb-todo" if finding.severity is Severity.NOT_DONE else ""
    rows = "\n".join(_row(name, text) for name, text in details(finding))
    return (
        f"<div class='rb-card{todo}'>\n<p><b>{number}. {escape(finding.what)}</b> "
        f"<span class='rb-kind'>({escape(finding.severity)}: {escape(finding.name)})</span></p>\n"
        f"<dl>\n{rows}\n</dl>\n</div>"
    )


def _row(name: str, text: str) -> str:
    shown = escape(text)
    if name == "Read":
        shown = f"<a href='{shown}' target='_blank' rel='noopener'>{shown}</a>"
    elif name in _CODE:
        shown = f"<code>{shown}</code>"
    return f"<dt>{name}:</dt><dd>{shown}</dd>"


def _looks(title: str, looks: Sequence[Look], *, opened: bool) -> str:
    rows = "\n".join(f"<dt>{escape(each.what)}</dt><dd>{escape(each.found)}</dd>" for each in looks)
    state = " open" if opened else ""
    return (
        f"<details{state}><summary>{escape(title)} ({len(looks)})</summary>\n"
        f"<dl>\n{rows}\n</dl></details>"
    )
