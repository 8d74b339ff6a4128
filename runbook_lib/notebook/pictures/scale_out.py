"""Draw where autoscalers scale out: what they count as bars, and the point that results.

Nothing is told by colour alone: bars carry names, points carry amounts, and rows their state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runbook_lib.chapters.autoscaling import (
    Comparison,
    Part,
    ScaleOut,
    Scaling,
    Shift,
    usage_text,
    words,
)
from runbook_lib.notebook.pictures import svg

WIDTH = 760
_LEFT, _RIGHT = 8, 752
_BARS = 184
"""Where bars begin; labels stand to the left of it."""

_BARS_END = 560
"""Where the longest bar ends; what results stands to the right of it."""

_RESULT = 578
_ROW = 44
_BAR = 24

_HUES = {
    Shift.IN_PLACE: ("good", "✓"),
    Shift.NEAR: ("good", "≈"),
    Shift.MOVED: ("bad", "✕"),
    Shift.WILL_MOVE: ("warn", "!"),
    Shift.UNKNOWN: ("none", "?"),
}
_SHORT = {
    Shift.IN_PLACE: "as without sidecar",
    Shift.NEAR: "near enough",
    Shift.MOVED: "moved by the sidecar",
    Shift.WILL_MOVE: "moves with a sidecar",
    Shift.UNKNOWN: "cannot be computed",
}


@dataclass(frozen=True)
class _Scale:
    """From amounts to places."""

    most: int

    def x(self, amount: float) -> float:
        return _BARS + (_BARS_END - _BARS) * amount / self.most


def scale_out_html(shown: ScaleOut) -> str:
    """Return the comparison as HTML with a picture in it."""
    parts, y = [svg.text(_LEFT, 18, shown.title, "bold")], 34.0
    blocks = list(shown.compared)
    for autoscaler, scaling, rows in blocks:
        drawn, y = _block(shown.heading(autoscaler, scaling), scaling, rows, y)
        parts += drawn
    if not blocks:
        parts.append(svg.text(_LEFT, 44, shown.nothing, "small muted"))
        return svg.page(WIDTH, 60, shown.title, shown.summary, parts)
    notes = (
        "A bar is what a container requests; dashed: the autoscaler does not count it.",
        "▼ The usage above which the autoscaler asks for another pod.   ▸ The remedy chosen.",
    )
    for number, note in enumerate(notes):
        parts.append(svg.text(_LEFT, y + 14 + 17 * number, note, "small muted"))
    return svg.page(WIDTH, y + 42, shown.title, shown.summary, parts)


def _block(
    heading: str, scaling: Scaling, rows: Sequence[Comparison], top: float
) -> tuple[list[str], float]:
    """Draw one autoscaler; return its elements and where it ends."""
    usage = 40 if scaling.usage is not None else 0
    height = 42 + _ROW * len(rows) + usage + 8
    parts = [svg.box(_LEFT, top, _RIGHT - _LEFT, height, "frame")]
    fitting = svg.shorten(heading, _RIGHT - _LEFT - 28)
    parts.append(svg.group([svg.text(_LEFT + 14, top + 24, fitting, "bold")], heading))
    scale = _Scale(_most(scaling, rows))
    y = top + 42
    parts += _baseline(scaling, rows, scale, y, y + _ROW * len(rows))
    remedies = False
    for row in rows:
        if row.chosen is not None and not remedies:
            remedies = True
            line = f"M{_LEFT + 14} {y + 1:.0f} H{_RIGHT - 14}"
            parts.append(svg.element("path", d=line, class_="rule"))
        parts += _row(scaling.resource, row, scale, y)
        y += _ROW
    parts += _usage(scaling, scale, y)
    return parts, top + height + 14


def _most(scaling: Scaling, rows: Sequence[Comparison]) -> int:
    requested = [sum(part.amount or 0 for part in row.parts) for row in rows]
    points = [row.point or 0 for row in rows]
    used = scaling.usage.application + scaling.usage.added if scaling.usage else 0
    return max(*requested, *points, used, 1)


def _row(resource: str, row: Comparison, scale: _Scale, y: float) -> Iterator[str]:
    hue, sign = _HUES[row.state]
    label = f"{'▸ ' if row.chosen else ''}{row.label}"
    style = "bold" if row.chosen else "muted" if row.chosen is False else ""
    yield svg.text(_LEFT + 14, y + 29, svg.shorten(label, _BARS - 34), style)
    x, names = scale.x(0), list[str]()
    for part in row.parts:
        width = scale.x(part.amount or 0) - scale.x(0)
        text = _part_text(resource, part)
        yield _bar(part, x, y + 12, width, text)
        if width > 44:
            fitting = svg.shorten(text, width - 14, size=11.5)
            names.append(svg.text(x + 8, y + 28, fitting, "small"))
        x += width
    if row.point is not None:
        yield from _marker(scale.x(row.point), y, hue)
    # Above the marker, so that it crosses no text.
    yield from names
    told = f"above {words(resource, row.point)}"
    explained = ": ".join(filter(None, [row.state, row.remark]))
    yield svg.group(
        [
            svg.text(_RESULT, y + 22, told, f"bold {hue}-fill"),
            svg.text(_RESULT, y + 37, f"{sign} {_SHORT[row.state]}", "small muted"),
        ],
        f"{row.label}: {told}, {explained}",
    )


def _part_text(resource: str, part: Part) -> str:
    requested = "no request" if part.amount is None else words(resource, part.amount)
    return f"{part.name} {requested}"


def _bar(part: Part, x: float, y: float, width: float, text: str) -> str:
    style = "none-tint" if not part.counted else "warn-tint" if part.added else "info-tint"
    dashes = None if part.counted else "4 3"
    bar = svg.box(x, y, max(width, 2), _BAR, style, stroke_dasharray=dashes)
    return svg.group([bar], text if part.counted else f"{text}, not counted")


def _marker(x: float, y: float, hue: str) -> Iterator[str]:
    line, style = f"M{x:.1f} {y + 8:.1f} V{y + 12:.1f} M{x:.1f} {y + 36:.1f} v5", f"{hue}-line"
    yield svg.element("path", d=line, class_=style, stroke_width=2.5)
    through = f"M{x:.1f} {y + 12:.1f} v24"
    yield svg.element("path", d=through, class_=style, stroke_width=2.5, stroke_opacity=0.4)
    yield svg.element("path", d=f"M{x - 5:.1f} {y + 3:.1f} h10 l-5 8 Z", class_=f"{hue}-fill")


def _baseline(
    scaling: Scaling, rows: Sequence[Comparison], scale: _Scale, top: float, bottom: float
) -> Iterator[str]:
    """Draw the point without sidecar through all rows, to see how far others are from it."""
    if scaling.before is None or len(rows) < 2:
        return
    x = scale.x(scaling.before)
    yield svg.element(
        "path",
        d=f"M{x:.1f} {top + 40:.1f} V{bottom:.1f}",
        class_="good-line",
        stroke_dasharray="2 4",
        stroke_width=1,
    )


def _usage(scaling: Scaling, scale: _Scale, y: float) -> Iterator[str]:
    usage = scaling.usage
    if usage is None:
        return
    yield svg.text(_LEFT + 14, y + 22, "in use now", "muted")
    own, added = scale.x(usage.application), scale.x(usage.application + usage.added)
    yield svg.box(_BARS, y + 13, max(own - _BARS, 2), 10, "info-fill", rx=2)
    if scaling.requests.added:
        yield svg.box(own, y + 13, max(added - own, 2), 10, "warn-fill", rx=2)
    end = max(added if scaling.requests.added else own, _BARS + 4)
    yield svg.text(end + 8, y + 22, usage_text(scaling).partition(": ")[2], "small")
