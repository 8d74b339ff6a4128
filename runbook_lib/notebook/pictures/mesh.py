"""Draw a map of the mesh: what stands where, and what becomes of traffic between.

Nothing is told by colour alone: every link says its state in a word, has an icon of its own and a
line style of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from runbook_lib.mesh import (
    BASIS_MEANINGS,
    EDGE,
    OUTSIDER,
    Basis,
    Link,
    LinkState,
    MeshMap,
    NamespaceView,
    PodView,
    Role,
    Sidecar,
    WorkloadView,
)
from runbook_lib.notebook.pictures import svg
from runbook_lib.notebook.pictures.marks import LOOKS, arrow, icon

WIDTH = 760
_LEFT, _LEFT_WIDTH = 8, 444
_RIGHT, _RIGHT_WIDTH = 496, 256
_PAD = 14
_ROW = 24
_PODS_SHOWN = 6
_RAIL = 16
_BADGE = 114
_HARD_SPACE = "\N{NO-BREAK SPACE}"


@dataclass
class _Canvas:
    """What is drawn so far, and where workloads are, for links to find them."""

    parts: list[str] = field(default_factory=list)
    places: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)

    def add(self, *parts: str) -> None:
        self.parts += parts


def mesh_html(mesh: MeshMap) -> str:
    """Return the map as HTML with a picture in it."""
    canvas = _Canvas()
    canvas.add(svg.text(_LEFT, 18, mesh.title, "bold"))
    top = _draw_edge(canvas, mesh)
    left = _draw_application(canvas, mesh, top)
    right = _draw_control_plane(canvas, mesh, top)
    right = _draw_outsider(canvas, mesh, right + 20)
    height = _draw_legend(canvas, mesh, max(left, right) + 24)
    return svg.page(WIDTH, height, mesh.title, mesh.summary, canvas.parts)


def _draw_edge(canvas: _Canvas, mesh: MeshMap) -> float:
    """Draw what is outside, and the way in; return where the cluster begins."""
    x, y, width, height = _LEFT + _PAD, 32, _LEFT_WIDTH - 2 * _PAD, 46
    canvas.add(
        svg.group(
            [
                svg.box(x, y, width, height, "box"),
                svg.text(x + 12, y + 19, EDGE, "bold"),
                svg.text(x + 12, y + 36, _fit(mesh.url, width - 24), "mono"),
            ],
            mesh.url,
        )
    )
    link = next(link for link in mesh.links if link.source == EDGE)
    words = _link_words(link, WIDTH - _PAD - x - 60)
    end = y + height + 34 + 16 * len(words)
    way_in = x + 24
    # The arrow goes on into the namespace, to the box of the web workload.
    canvas.add(*arrow([(way_in, y + height), (way_in, end + 34)], link.state))
    canvas.add(_label(way_in + 16, y + height + 22, link, words))
    return end


def _draw_application(canvas: _Canvas, mesh: MeshMap, top: float) -> float:
    view = mesh.application
    x, width = _LEFT + _PAD, _LEFT_WIDTH - 2 * _PAD
    # The way in comes down on the left.
    canvas.add(svg.text(x + 41, top + 21, _fit_text(view.heading, width - 41), "small bold"))
    links = [link for link in mesh.links if link.source not in (EDGE, OUTSIDER)]
    web = next((w for w in view.workloads if w.role is Role.WEB), None)
    y = top + 34
    if web is not None:
        y = _draw_workload(canvas, web, x, y, width)
    inside = [link for link in links if web and link.source == web.name]
    indent = _RAIL * len(inside) + 8
    for number, link in enumerate(inside):
        workload = next(w for w in view.workloads if w.name == link.target)
        words = _link_words(link, width - indent - 40)
        rail = x + 24 + _RAIL * (len(inside) - 1 - number)
        start, y = y, y + 32 + 16 * len(words)
        from_y = canvas.places[link.source][3] if number else start
        label_x = x + 24 + _RAIL * (len(inside) - 1) + 16
        canvas.add(_label(label_x, start + 22, link, words))
        y = _draw_workload(canvas, workload, x + indent + 18, y, width - indent - 18)
        box = canvas.places[workload.name]
        canvas.add(*arrow([(rail, from_y), (rail, box[1] + 22), (box[0], box[1] + 22)], link.state))
    drawn = {web.name if web else "", *(link.target for link in inside)}
    for workload in view.workloads:
        if workload.name not in drawn:
            y = _draw_workload(canvas, workload, x, y + 14, width)
    y = _draw_policies(canvas, view, x, y, width)
    canvas.parts.insert(0, svg.box(_LEFT, top, _LEFT_WIDTH, y + 12 - top, "frame", rx=10))
    return y + 12


def _draw_control_plane(canvas: _Canvas, mesh: MeshMap, top: float) -> float:
    view = mesh.istio
    x, width = _RIGHT + _PAD, _RIGHT_WIDTH - 2 * _PAD
    y = top + 34
    lines = svg.wrap(view.heading, width, size=12)
    for number, line in enumerate(lines):
        canvas.add(svg.text(x, top + 21 + 15 * number, line, "small bold"))
    y += 15 * (len(lines) - 1)
    for workload in view.workloads:
        y = _draw_workload(canvas, workload, x, y, width) + 10
    if not view.workloads:
        words = "no pods: no mesh" if view.exists else "no mesh"
        canvas.add(svg.text(x, y + 10, words, "small muted"))
        y += 22
    link = next((link for link in mesh.links if link.target == mesh.application.name), None)
    if link is not None:
        box = canvas.places[link.source]
        line_y = box[1] + 22
        canvas.add(*arrow([(box[0], line_y), (_LEFT + _LEFT_WIDTH, line_y)], link.state))
        for line in svg.wrap(f"{link.state}: {'; '.join(link.reasons)}", width, lines=3):
            canvas.add(svg.text(x, y + 8, line, "small muted"))
            y += 15
        y += 4
    y = _draw_policies(canvas, view, x, y - 10, width)
    canvas.parts.insert(0, svg.box(_RIGHT, top, _RIGHT_WIDTH, y + 12 - top, "frame", rx=10))
    return y + 12


def _draw_outsider(canvas: _Canvas, mesh: MeshMap, top: float) -> float:
    """Draw any caller without a sidecar: what STRICT mutual TLS is about."""
    links = [link for link in mesh.links if link.source == OUTSIDER]
    if not links:
        return top
    x, width = _RIGHT + _PAD, _RIGHT_WIDTH - 2 * _PAD
    canvas.add(
        svg.text(x, top + 21, "any " + OUTSIDER, "small bold"),
        svg.text(x, top + 36, "derived; nothing was sent", "small muted"),
    )
    y = top + 44
    for number, link in enumerate(links):
        line_y = y + 12
        place = canvas.places[link.target]
        # Vertical parts side by side, so that no two lines cover each other.
        rail = _RIGHT - 12 - 12 * number
        end, reach = place[0] + place[2], place[1] + 36
        canvas.add(
            *arrow([(_RIGHT, line_y), (rail, line_y), (rail, reach), (end, reach)], link.state)
        )
        lines = [svg.text(x + 20, y + 32, _fit(f"to {link.end}", width - 20), "small")]
        for line in svg.wrap("; ".join(link.reasons), width - 20, lines=3):
            lines.append(svg.text(x + 20, y + 47, line, "small muted"))
            y += 15
        canvas.add(svg.group([*_state(x, line_y + 4, link.state), *lines], link.sentence))
        y += 48
    canvas.parts.insert(
        0, svg.box(_RIGHT, top, _RIGHT_WIDTH, y + 4 - top, "frame", rx=10, stroke_dasharray="3 4")
    )
    return y + 4


def _draw_workload(
    canvas: _Canvas, workload: WorkloadView, x: float, y: float, width: float
) -> float:
    """Draw a workload with its pods; return where it ends."""
    parts = [
        svg.text(x + 12, y + 19, _fit_text(workload.name, width - 110), "bold"),
        svg.text(x + width - 12, y + 19, workload.kind, "small muted", anchor="end"),
    ]
    shown, hidden = _pods_shown(workload.pods)
    below = y + 30
    for pod in shown:
        pod_text = _PodText(pod, width - 20)
        parts.append(_pod(pod_text, x + 10, below))
        below += pod_text.height + 4
    if hidden:
        ready = sum(not pod.problem for pod in hidden)
        words = f"and {len(hidden)} more pods: {ready} ready, {len(hidden) - ready} not"
        parts.append(svg.text(x + 12, below + 14, words, "small muted"))
        below += _ROW
    if not workload.pods:
        parts.append(svg.text(x + 12, below + 12, "no pods", "small warn-fill"))
        below += _ROW
    below += 6
    canvas.places[workload.name] = (x, y, width, below)
    canvas.add(svg.box(x, y, width, below - y, "box"), *parts)
    return below


def _pods_shown(pods: Sequence[PodView]) -> tuple[Sequence[PodView], Sequence[PodView]]:
    """Split pods into those drawn and those counted; it takes two to be worth a line."""
    if len(pods) <= _PODS_SHOWN:
        return pods, ()
    return pods[: _PODS_SHOWN - 1], pods[_PODS_SHOWN - 1 :]


@dataclass(frozen=True)
class _PodText:
    """The texts of a pod, and whether they take a second line."""

    pod: PodView
    width: float

    @property
    def badge(self) -> float:
        """The room for the sidecar; a pod without one is worth a word where sidecars matter."""
        return 0 if self.width < _BADGE * 2 else _BADGE

    @property
    def state(self) -> str:
        ready = "not ready" if self.pod.problem else "ready"
        return f"{self.pod.ready} {ready}{', simulated' if self.pod.simulated else ''}"

    @property
    def room(self) -> float:
        """The room for the name beside the state."""
        return self.width - self.badge - 30 - len(self.state) * 6.4

    @property
    def two_lines(self) -> bool:
        long = len(self.pod.name) * 12 * svg.WIDE > self.room
        return bool(self.pod.problem) or long

    @property
    def height(self) -> float:
        return _ROW * (2 if self.two_lines else 1)


def _pod(shown: _PodText, x: float, y: float) -> str:
    """Draw a pod: name and READY, and beside them its sidecar."""
    pod, width = shown.pod, shown.width
    parts = [svg.box(x, y, width, shown.height, f"{'warn' if pod.problem else 'none'}-tint", rx=4)]
    if shown.two_lines:
        words = f"{shown.state}: {pod.problem}" if pod.problem else shown.state
        below = svg.wrap(words, width - 16, lines=1)[0]
        parts += [
            svg.text(x + 8, y + 16, _fit(pod.name, width - shown.badge - 16), "mono"),
            svg.text(x + 8, y + 38, below, "small" if pod.problem else "small muted"),
        ]
    else:
        right = x + width - shown.badge - 8
        parts += [
            svg.text(x + 8, y + 16, pod.name, "mono"),
            svg.text(right, y + 16, shown.state, "small muted", anchor="end"),
        ]
    if shown.badge:
        parts.append(_badge(pod.sidecar, x + width - shown.badge, y, shown.badge))
    return svg.group(parts, pod.text)


def _badge(sidecar: Sidecar, x: float, y: float, width: float) -> str:
    hue, dash = {
        Sidecar.READY: ("good", None),
        Sidecar.NOT_READY: ("warn", "4 3"),
        Sidecar.NONE: ("none", "2 4"),
    }[sidecar]
    word = "none" if sidecar is Sidecar.NONE else hue
    return svg.element(
        "g",
        svg.box(x + 3, y + 3, width - 6, _ROW - 6, f"{hue}-tint", rx=9, stroke_dasharray=dash),
        svg.text(x + width / 2, y + 16, sidecar, f"small {word}-fill", anchor="middle"),
    )


def _draw_policies(canvas: _Canvas, view: NamespaceView, x: float, y: float, width: float) -> float:
    """List a namespace's policies below its workloads."""
    if not view.policies:
        return y
    y += 24
    canvas.add(svg.text(x, y, "policies in force", "small muted"))
    for policy in view.policies:
        for line in svg.wrap(policy, width, lines=3):
            y += 16
            canvas.add(svg.text(x, y, line, "small"))
        y += 2
    return y


def _link_words(link: Link, width: float) -> list[str]:
    """Return what stands beside a link below the word for its state, as elements' text."""
    # An answer is not broken in two.
    answers = " · ".join(answer.replace(" ", _HARD_SPACE) for answer in link.answers)
    why = f"{link.basis}: {'; '.join(link.reasons)}"
    return [*svg.wrap(answers, width, lines=3), *svg.wrap(why, width, lines=2)]


def _label(x: float, y: float, link: Link, words: Sequence[str]) -> str:
    lines = [svg.text(x, y + 16 * n, line, "small") for n, line in enumerate(words, start=1)]
    return svg.group([*_state(x, y, link.state), *lines], link.sentence)


def _state(x: float, y: float, state: LinkState) -> list[str]:
    """Draw the sign of a state, and the word."""
    words = svg.text(x + 20, y, state, f"bold {LOOKS[state].hue}-fill")
    return [icon(x + 7, y - 4, state), words]


def _draw_legend(canvas: _Canvas, mesh: MeshMap, y: float) -> float:
    """Say what lines and words mean, those that occur; return the picture's height."""
    x: float = _LEFT + _PAD
    for state in dict.fromkeys(link.state for link in mesh.links):
        canvas.add(
            *arrow([(x, y), (x + 40, y)], state),
            icon(x + 54, y, state),
            svg.text(x + 66, y + 4, state, "small"),
        )
        x += 92 + len(state) * 6.4
    for basis, meaning in _meanings(mesh.links):
        y += 20
        canvas.add(svg.text(_LEFT + _PAD, y + 4, f"{basis}: {meaning}", "small muted"))
    return y + 16


def _meanings(links: Sequence[Link]) -> Iterator[tuple[Basis, str]]:
    used = {link.basis for link in links}
    return ((basis, text) for basis, text in BASIS_MEANINGS.items() if basis in used)


def _fit(words: str, width: float) -> str:
    return svg.shorten(words, width, size=12, per=svg.WIDE)


def _fit_text(words: str, width: float) -> str:
    return svg.shorten(words, width, per=0.58)
