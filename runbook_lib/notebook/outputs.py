"""One output of a notebook that changes while it is shown."""

from __future__ import annotations

import uuid
from typing import Any

from runbook_lib.base import RunbookError
from runbook_lib.base.redact import redact


def widget_view(box: Any) -> dict[str, Any]:
    """Return the form in which front ends show a widget, by its media type.

    See https://ipywidgets.readthedocs.io/en/stable/embedding.html.
    """
    view = {"model_id": box.model_id, "version_major": 2, "version_minor": 0}
    return {"application/vnd.jupyter.widget-view+json": view}


def failed_click(error: Exception) -> str:
    """Return what to show below a button whose work failed.

    Any error counts: what a click raises goes to a log that no one has open, and the button would
    seem to do nothing.
    """
    if isinstance(error, RunbookError):
        return str(error)
    return redact(f"{type(error).__name__}: {error}")


class LiveOutput:
    """An output below the current cell, shown on first use and then replaced in place."""

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex
        self._shown = False

    def show(self, text: str, html: str, more: dict[str, Any] | None = None) -> None:
        """Show, in place of what was shown before.

        Args:
            text: For front ends without HTML.
            html: For those with it.
            more: Other forms by media type; front ends choose the richest that they know.
        """
        from IPython.display import display, update_display

        bundle = {"text/plain": text, "text/html": html, **(more or {})}
        put = update_display if self._shown else display
        put(bundle, raw=True, display_id=self._id)  # type: ignore[no-untyped-call]
        self._shown = True
