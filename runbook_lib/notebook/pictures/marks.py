"""Lines and icons for links: each state has its own of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.mesh import LinkState
from runbook_lib.notebook.pictures import svg

Point = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """How a state looks.

    Attributes:
        hue: The name of its colour in `svg.STYLE`.
        width: Of its line.
        dash: Dashes and gaps; None for a line without.
    """

    hue: str
    width: float
    dash: str | None = None


LOOKS = {
    LinkState.PLAINTEXT: Look("warn", 2, "8 4"),
    LinkState.MUTUAL_TLS: Look("good", 3.5),
    LinkState.REFUSED: Look("bad", 2.5, "2 5"),
    LinkState.NO_ANSWER: Look("bad", 2, "12 4 2 4"),
    LinkState.UNKNOWN: Look("none", 2, "2 3"),
    LinkState.CONFIGURES: Look("info", 1.5, "10 3 2 3"),
}

_BLOCKED = (LinkState.REFUSED, LinkState.NO_ANSWER)
_STOP = 16
"""How far before the target a line ends that does not get through."""


def arrow(points: Sequence[Point], state: LinkState) -> list[str]:
    """Return a line along `points`: with a head if traffic gets through, else with a barrier."""
    look = LOOKS[state]
    *_, before, end = points
    angle = math.atan2(end[1] - before[1], end[0] - before[0])
    back = _STOP if state in _BLOCKED else 8
    tip = (end[0] - back * math.cos(angle), end[1] - back * math.sin(angle))
    line = svg.element(
        "path",
        d=_path([*points[:-1], tip]),
        class_=f"{look.hue}-line",
        stroke_width=look.width,
        stroke_dasharray=look.dash,
        stroke_linejoin="round",
    )
    turn = f"translate({end[0]:.1f} {end[1]:.1f}) rotate({math.degrees(angle):.0f})"
    if state in _BLOCKED:
        mark = svg.element(
            "path",
            d="M-15 -6 L-3 6 M-15 6 L-3 -6",
            class_=f"{look.hue}-line",
            stroke_width=2.5,
            stroke_linecap="round",
            transform=turn,
        )
    elif state is LinkState.UNKNOWN:
        mark = svg.element(
            "path",
            d="M-9 -5.5 L0 0 L-9 5.5",
            class_=f"{look.hue}-line",
            stroke_width=2,
            transform=turn,
        )
    else:
        mark = svg.element(
            "path", d="M0 0 L-11 -5.5 L-11 5.5 Z", class_=f"{look.hue}-fill", transform=turn
        )
    return [line, mark]


def icon(x: float, y: float, state: LinkState) -> str:
    """Return the sign of a state, centred on a point."""
    hue = LOOKS[state].hue
    stroke = {"class_": f"{hue}-line", "stroke_width": 1.8, "stroke_linecap": "round"}
    body = svg.box(-5.5, -1, 11, 7.5, f"{hue}-fill", rx=1.5)
    drawn = {
        LinkState.MUTUAL_TLS: [
            body,
            svg.element("path", d="M-3.2 -1 V-3.5 A3.2 3.2 0 0 1 3.2 -3.5 V-1", **stroke),
        ],
        LinkState.PLAINTEXT: [
            body,
            svg.element("path", d="M-3.2 -1 V-4 A3.2 3.2 0 0 1 2.6 -6", **stroke),
        ],
        LinkState.REFUSED: [
            svg.element("circle", r=6, **stroke),
            svg.element("path", d="M-4.2 -4.2 L4.2 4.2", **stroke),
        ],
        LinkState.NO_ANSWER: [svg.element("path", d="M-5 -5 L5 5 M-5 5 L5 -5", **stroke)],
        LinkState.CONFIGURES: [
            svg.element("circle", r=3, **stroke),
            svg.element(
                "path",
                d="M0 -6 V-4 M0 4 V6 M-6 0 H-4 M4 0 H6 "
                "M-4.3 -4.3 L-3 -3 M3 3 L4.3 4.3 M-4.3 4.3 L-3 3 M3 -3 L4.3 -4.3",
                **stroke,
            ),
        ],
        LinkState.UNKNOWN: [svg.text(0, 4.5, "?", "bold", anchor="middle")],
    }[state]
    return svg.element("g", *drawn, transform=f"translate({x:.1f} {y:.1f})")


def _path(points: Sequence[Point]) -> str:
    return " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(points))
