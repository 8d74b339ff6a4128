"""The pictures in a run's executed notebooks, for its report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_IMAGE = re.compile(r'<img src="data:image/svg\+xml;base64,[A-Za-z0-9+/=]+" alt="([^"<>]*)"[^<>]*>')
"""A picture as a kernel without a person in front of it shows it; nothing in it is a script."""


@dataclass(frozen=True)
class Picture:
    """Something drawn.

    Attributes:
        caption: What it is.
        html: The picture.
        notebook: The notebook that shows it; empty if none does.
    """

    caption: str
    html: str
    notebook: str = ""


def of(folder: Path) -> tuple[Picture, ...]:
    """Return the pictures that a run's notebooks show, in order; a repeated one once.

    Args:
        folder: The run's.
    """
    found = (picture for path in sorted(folder.glob("*.ipynb")) for picture in _in_notebook(path))
    return tuple({picture.html: picture for picture in found}.values())


def _in_notebook(path: Path) -> Iterator[Picture]:
    try:
        cells = json.loads(path.read_bytes())["cells"]
    except (OSError, ValueError, KeyError):  # a killed run may have left half of one
        return
    for cell in cells:
        for output in cell.get("outputs", ()):
            html = "".join(_html(output))
            for image in _IMAGE.finditer(html):
                yield Picture(image[1].partition(". ")[0], image[0], path.stem)


def _html(output: dict[str, Any]) -> list[str]:
    found = output.get("data", {}).get("text/html", ())
    return [found] if isinstance(found, str) else list(found)
