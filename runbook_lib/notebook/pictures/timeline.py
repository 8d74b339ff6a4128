"""Draw a timeline: time goes down, a column for each request, changes across all of them.

Downwards, because changes have long names, and a run may have any number of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from runbook_lib.lifecycle import Answered
from runbook_lib.notebook import Answers, StepChange, Timeline, answer_text, is_denied
from runbook_lib.notebook.pictures import svg

_TIME = 8
_RAIL = 92
_FIRST = 114
_COLUMNS = 410
"""The room for all columns, unless they would be too narrow."""
_NARROWEST, _WIDEST = 76, 110
_REMARK = 222
_ROW = 30
_LONG_PAUSE = 60
"""Seconds from which a pause is named."""


@dataclass(frozen=True)
class _Placed:
    """An entry, and where its row begins and ends."""

    entry: StepChange | Answers
    top: float
    bottom: float
    pause: str


def timeline_html(timeline: Timeline) -> str:
    """Return the timeline as HTML with a picture in it."""
    requests = timeline.requests
    each = min(_WIDEST, max(_NARROWEST, _COLUMNS / max(1, len(requests))))
    remark = _FIRST + each * len(requests) + 10
    width = round(max(remark, _FIRST + _COLUMNS) + _REMARK)
    parts = [svg.text(_TIME, 18, timeline.title, "bold")]
    for number, heading in enumerate(timeline.headings):
        middle = _FIRST + each * (number + 0.5) - 3
        fitting = svg.shorten(heading, each - 6, size=12, per=svg.WIDE)
        parts.append(svg.text(middle, 44, fitting, "mono bold", anchor="middle"))
    rows = list(_rows(timeline, width))
    if not rows:
        parts.append(svg.text(_TIME, 44, "Nothing was asked or changed yet.", "small muted"))
        return svg.page(width, 60, timeline.title, timeline.summary, parts)
    end = rows[-1].bottom
    parts.append(svg.element("path", d=f"M{_RAIL} 56 V{end:.0f}", class_="rule", stroke_width=2))
    for row in rows:
        parts += _row(row, width, remark)
    for number, request in enumerate(requests):
        parts += _column(timeline, rows, request, _FIRST + each * number, each - 6)
    notes = (
        "◆ a change   ● proved: three times in a row   ○ seen once",
        "A dashed frame: not what the policies imply yet. Distances are not to scale.",
    )
    for number, note in enumerate(notes):
        parts.append(svg.text(_TIME, end + 24 + 17 * number, note, "small muted"))
    return svg.page(width, end + 52, timeline.title, timeline.summary, parts)


def _rows(timeline: Timeline, width: float) -> Iterator[_Placed]:
    y, before = 56.0, None
    for entry in timeline.entries:
        pause = _pause(before, entry.at)
        y += 18 if pause else 0
        height = _ROW
        if isinstance(entry, StepChange):
            height = 26 + 15 * len(_change_lines(entry, width))
        yield _Placed(entry, y, y + height, pause)
        y += height
        before = entry.until if isinstance(entry, Answers) else entry.at


def _pause(before: datetime | None, now: datetime) -> str:
    seconds = (now - before).total_seconds() if before else 0
    if seconds < _LONG_PAUSE:
        return ""
    minutes = round(seconds / 60)
    return f"{minutes} min later" if minutes < 120 else f"{seconds / 3600:.1f} h later"


def _change_lines(change: StepChange, width: float) -> list[str]:
    return svg.wrap(", ".join(change.what), width - _FIRST - 10, lines=3)


def _row(row: _Placed, width: float, remark: float) -> Iterator[str]:
    entry, y = row.entry, row.top
    if row.pause:
        yield svg.text(_RAIL + 22, y - 5, row.pause, "small muted")
    if isinstance(entry, StepChange):
        yield svg.element("path", d=f"M{_RAIL} {y + 4:.0f} H{width}", class_="rule")
        yield svg.text(_TIME, y + 19, f"{entry.at:%H:%M:%S}", "mono")
        yield svg.element("path", d=f"M{_RAIL} {y + 8:.0f} l7 7 l-7 7 l-7 -7 Z", class_="info-fill")
        texts = [svg.text(_FIRST, y + 19, entry.step, "small bold info-fill")]
        for number, line in enumerate(_change_lines(entry, width), start=1):
            texts.append(svg.text(_FIRST, y + 19 + 15 * number, line, "small"))
        yield svg.group(texts, entry.text)
        return
    yield svg.text(_TIME, y + 20, f"{entry.at:%H:%M:%S}", "mono muted")
    yield svg.element(
        "circle",
        cx=_RAIL,
        cy=y + 16,
        r=5,
        class_="none-fill" if entry.proved else "none-line",
        stroke_width=None if entry.proved else 2,
    )
    words = svg.wrap(entry.text, _REMARK - 14, lines=1)[0]
    yield svg.group([svg.text(remark, y + 20, words, "small muted")], entry.text)


def _column(
    timeline: Timeline,
    rows: Sequence[_Placed],
    request: tuple[str, str],
    x: float,
    width: float,
) -> Iterator[str]:
    """Draw one request's answers: a bar as long as the answer stays the same, up to a change."""

    def look_of(answer: Answered) -> tuple[str, bool]:
        return answer_text(answer), answer.ok

    run: list[_Placed] = []
    held: Answered | None = None
    for row in rows:
        seen = timeline.answer(row.entry, request) if isinstance(row.entry, Answers) else None
        unlike = seen is None or held is None or look_of(seen) != look_of(held)
        if run and held is not None and (unlike or row.pause):
            yield _bar(held, x, run[0].top, run[-1].bottom, width)
            run = []
        held = seen
        if seen is not None:
            run.append(row)
    if run and held is not None:
        yield _bar(held, x, run[0].top, run[-1].bottom, width)


def _bar(answer: Answered, x: float, top: float, bottom: float, width: float) -> str:
    hue, sign = _look(answer)
    words = svg.shorten(f"{sign} {answer_text(answer)}", width - 6, size=11.5)
    awaited = "" if answer.ok else f", expected {answer.expected}"
    return svg.group(
        [
            svg.box(
                x,
                top + 3,
                width,
                bottom - top - 6,
                f"{hue}-tint",
                stroke_dasharray=None if answer.ok else "4 3",
            ),
            svg.text(x + width / 2, top + 20, words, "small bold", anchor="middle"),
        ],
        f"{answer.method} {answer.path}: {answer_text(answer)} {answer.detail}{awaited}",
    )


def _look(answer: Answered) -> tuple[str, str]:
    """Return the hue and the sign of an answer: through, said no by the application, kept out."""
    if is_denied(answer):
        return "warn", "⊘"
    if answer.status is None or answer.status >= 500:
        return "bad", "✕"
    return ("none", "–") if answer.status >= 400 else ("good", "✓")
