"""Write pictures: elements, texts that fit, and colours that follow the page's theme.

Where a person sits in front of the kernel, pictures go into notebooks as part of the HTML, so that
they take over its colours: JupyterLab's variables where there are some, else the colour of the text
around them. Accents are mixed from a hue and that colour, which makes them darker on light pages
and lighter on dark ones. Elsewhere they are images, which notebooks show that are not trusted.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from html import escape

from runbook_lib.base.style import HUES

WIDE = 0.62
"""Width of a monospace character, as a part of the font size."""

PROPORTIONAL = 0.54
"""Width of an average character of the text font, on the large side."""

_PLAIN_HUES = "".join(f"--rb-{name}:{hue};" for name, hue in HUES.items())
_MIXED_HUES = "".join(
    f"--rb-{name}:color-mix(in oklab,currentColor 28%,{hue});" for name, hue in HUES.items()
)

STYLE = (
    ".rb-picture{overflow-x:auto;max-width:100%}"
    ".rb-picture svg{display:block;width:100%;height:auto}"
    "svg.rb-svg{color:var(--jp-content-font-color0,currentColor);"
    "font-family:var(--jp-content-font-family,system-ui,-apple-system,'Segoe UI',sans-serif);"
    f"font-size:13px;{_PLAIN_HUES}}}"
    "@supports (color:color-mix(in oklab,red,blue)){svg.rb-svg{" + _MIXED_HUES + "}}"
    # On its own, outside of a page, a picture has no text colour to take over.
    "svg.rb-svg:root{color:#1f2328;background:#fff}"
    "@media (prefers-color-scheme:dark){svg.rb-svg:root{color:#e6e6e6;background:#161616}}"
    ".rb-svg text{fill:currentColor;white-space:pre}"
    ".rb-svg .small{font-size:11.5px}"
    ".rb-svg .muted{fill-opacity:.72}"
    ".rb-svg .bold{font-weight:600}"
    ".rb-svg .mono{font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,"
    "'DejaVu Sans Mono',monospace);font-size:12px}"
    ".rb-svg .frame{fill:currentColor;fill-opacity:.035;stroke:currentColor;stroke-opacity:.3}"
    ".rb-svg .box{fill:currentColor;fill-opacity:.05;stroke:currentColor;stroke-opacity:.55}"
    ".rb-svg .rule{stroke:currentColor;stroke-opacity:.3;fill:none}"
    + "".join(
        f".rb-svg .{name}-line{{stroke:var(--rb-{name});fill:none}}"
        f".rb-svg .{name}-fill{{fill:var(--rb-{name})}}"
        f".rb-svg text.{name}-fill{{fill:var(--rb-{name})}}"
        f".rb-svg .{name}-tint{{fill:var(--rb-{name});fill-opacity:.16;"
        f"stroke:var(--rb-{name});stroke-opacity:.75}}"
        for name in HUES
    )
    + ".rb-svg .none-line{stroke:currentColor;stroke-opacity:.6;fill:none}"
    ".rb-svg .none-fill{fill:currentColor;fill-opacity:.75}"
    ".rb-svg .none-tint{fill:none;stroke:currentColor;stroke-opacity:.45}"
)


def element(tag: str, *children: str, **attributes: object) -> str:
    """Return an element.

    Args:
        tag: Its name.
        *children: Its content, elements or escaped text.
        **attributes: `stroke_width=2` becomes `stroke-width="2"`, `class_` becomes `class`; those
            that are None are left out.
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_plain(_short(value)))}"'
        for name, value in attributes.items()
        if value is not None
    )
    content = "".join(children)
    return f"<{tag}{given}>{content}</{tag}>" if content else f"<{tag}{given}/>"


def text(x: float, y: float, words: str, style: str = "", *, anchor: str | None = None) -> str:
    """Return text with its baseline at `y`; escaped."""
    return element(
        "text", escape(_plain(words)), x=x, y=y, class_=style or None, text_anchor=anchor
    )


def box(x: float, y: float, width: float, height: float, style: str, **more: object) -> str:
    """Return a rectangle with round corners."""
    return element("rect", x=x, y=y, width=width, height=height, **{"rx": 6, **more}, class_=style)


def group(children: Iterable[str], title: str = "") -> str:
    """Return a group; its title appears when the pointer rests on it."""
    hint = element("title", escape(_plain(title))) if title else ""
    return element("g", hint, *children)


def page(width: int, height: float, title: str, description: str, content: Iterable[str]) -> str:
    """Return the picture as HTML that can stand anywhere in a page.

    Args:
        width: In pixels, as designed; shown narrower where there is less room, down to legibility.
        height: In pixels, as designed.
        title: What it is; read to those who do not see it.
        description: What it shows, in sentences; the same.
        content: Its elements.
    """
    key = "rb-" + hashlib.sha256(f"{title}\n{description}".encode()).hexdigest()[:12]
    picture = element(
        "svg",
        element("title", escape(_plain(title)), id=f"{key}-title"),
        element("desc", escape(_plain(description)), id=f"{key}-desc"),
        element("style", STYLE),
        *content,
        xmlns="http://www.w3.org/2000/svg",
        class_="rb-svg",
        role="img",
        aria_labelledby=f"{key}-title",
        aria_describedby=f"{key}-desc",
        viewBox=f"0 0 {width} {_short(height)}",
        style=f"max-width:{width}px;min-width:{round(width * 0.72)}px",
    )
    return f'<div class="rb-picture">{picture}</div>'


def as_images(html: str) -> str:
    """Return HTML with its pictures as images, for front ends that trust no SVG in it.

    JupyterLab trusts the outputs of the person at work and no others, such as those of a run: it
    strips SVG of its elements and leaves the texts. Images it shows, see
    https://jupyter-server.readthedocs.io/en/latest/operators/security.html#security-in-notebook-documents.
    """
    return _PICTURE.sub(lambda found: _image(found[0]), html)


_PICTURE = re.compile(r"<svg\b.*?</svg>", re.S)


def _image(picture: str) -> str:
    words = (re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", picture, re.S) for tag in ("title", "desc"))
    told = ". ".join(found[1] for found in words if found)
    wide = re.search(r'viewBox="0 0 (\d+)', picture)
    data = base64.b64encode(picture.encode()).decode()
    width = f' width="{wide[1]}"' if wide else ""
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{told}"{width}>'


def shorten(words: str, width: float, *, size: float = 13, per: float = PROPORTIONAL) -> str:
    """Cut text in its middle to fit; names often differ at their ends only.

    Args:
        words: The text.
        width: The room, in pixels.
        size: The font size.
        per: The width of a character, as a part of the font size.
    """
    room = max(3, int(width / (size * per)))
    if len(words) <= room:
        return words
    tail = (room - 1) // 2
    return f"{words[: room - 1 - tail]}…{words[len(words) - tail :]}"


def wrap(words: str, width: float, *, size: float = 11.5, lines: int = 2) -> list[str]:
    """Break text into lines that fit; the last one is shortened if there would be more."""
    room = max(3, int(width / (size * PROPORTIONAL)))
    found = [""]
    for word in words.split(" "):
        longer = f"{found[-1]} {word}".strip()
        if len(longer) <= room or not found[-1]:
            found[-1] = longer
        else:
            found.append(word)
    kept = [*found[: lines - 1], " ".join(found[lines - 1 :])]
    return [line if len(line) <= room else f"{line[: room - 1]}…" for line in kept if line]


def _short(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def _plain(words: str) -> str:
    """Leave out control characters: no XML may hold them."""
    return "".join(c if c.isprintable() else " " for c in words)
