"""The form that writes a parameters file. Imported only when there is somebody to fill it in."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

import ipywidgets  # type: ignore[import-untyped] # it comes without types

from runbook_lib import init
from runbook_lib.base import command_line, working_folder
from runbook_lib.init import Draft, Place, SeveralWorkloads
from runbook_lib.notebook import LiveOutput, failed_click, widget_view

_WIDE = {"style": {"description_width": "8em"}, "layout": {"width": "42em", "max_width": "100%"}}
_LOOKED_UP = "look it up"


class ParametersForm:
    """Context, namespace and workload to choose, the file to see, and a button that saves it."""

    def __init__(self) -> None:
        """Nothing is shown, and no cluster asked, yet."""
        self._output = LiveOutput()
        self._draft: Draft | None = None
        self.context = ipywidgets.Dropdown(options=[], description="Context", **_WIDE)
        self.namespace = ipywidgets.Combobox(description="Namespace", **_WIDE)
        self.workload = ipywidgets.Dropdown(
            options=[_LOOKED_UP], description="Web workload", **_WIDE
        )
        self.url = ipywidgets.Text(
            description="Address", placeholder="look it up", continuous_update=False, **_WIDE
        )
        self.methods = ipywidgets.Checkbox(
            description="Ask the login page with POST, PUT, DELETE and PATCH as well",
            indent=False,
            layout={"width": "42em"},
        )
        self.file = ipywidgets.Text(
            value=str(working_folder() / "my-cluster.yaml"), description="File", **_WIDE
        )
        self.replace = ipywidgets.Checkbox(description="Replace it if it exists", indent=False)
        self.look = ipywidgets.Button(description="Look", icon="search")
        self.save = ipywidgets.Button(description="Save", icon="save", disabled=True)
        self.status = ipywidgets.HTML()
        self.text = ipywidgets.HTML()
        self.context.observe(lambda _: self._guarded(self._list_namespaces), names="value")
        for chosen in (self.context, self.namespace, self.workload, self.url, self.methods):
            chosen.observe(lambda _: self._forget(), names="value")
        self.look.on_click(lambda _: self._guarded(self._look))
        self.save.on_click(lambda _: self._guarded(self._save))

    def show(self) -> None:
        """Show it below the current cell."""
        box = ipywidgets.VBox(
            [
                *(self.context, self.namespace, self.workload, self.url, self.methods),
                *(self.file, self.replace),
                ipywidgets.HBox([self.look, self.save]),
                *(self.status, self.text),
            ]
        )
        hint = f"No form here? Use a terminal: {command_line('init', '--help')}"
        self._output.show(hint, f"<p>{hint}</p>", widget_view(box))
        self._guarded(self._list_contexts)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._say(f"✗ {failed_click(error)}")

    def _list_contexts(self) -> None:
        # None is chosen for anybody: the first would be as arbitrary as the current one.
        self.context.options = [("choose one", None), *((c, c) for c in init.contexts())]
        self.context.value = None

    def _list_namespaces(self) -> None:
        if self.context.value is not None:
            self.namespace.options = init.namespaces(self.context.value)

    def _forget(self) -> None:
        """What was drafted is about something else than what is chosen now."""
        self._draft = None
        self.save.disabled = True
        self.text.value = ""

    def _look(self) -> None:
        self._forget()
        if not (self.context.value and self.namespace.value):
            self._say("Choose a context and a namespace first.")
            return
        self._say("Looking …")
        place = Place(self.namespace.value, self.context.value).connect()
        named = self.workload.value
        try:
            made = init.draft(
                place,
                workload=None if named == _LOOKED_UP else named,
                url=self.url.value.strip() or None,
                other_methods=self.methods.value,
            )
        except SeveralWorkloads as error:
            self.workload.options = [_LOOKED_UP, *error.candidates]
            self._say(f"{error.cause}\n→ choose the web workload above, and look again")
            return
        self._draft, self.save.disabled = made, False
        self.text.value = f"<pre>{escape(made.text)}</pre>"
        left = "\n".join(f"CHANGE {each}" for each in made.changes)
        self._say(left or "Nothing in it is left to do.")

    def _save(self) -> None:
        if self._draft is None:
            return
        path = Path(self.file.value)
        init.save(self._draft, path, force=self.replace.value)
        self._say(
            f"✓ {path} is written and passes its checks. Open the runbook with it: "
            f"{command_line('notebook', '--parameters', str(path))}"
        )

    def _say(self, text: str) -> None:
        said = escape(text).replace("\n", "<br>")
        self.status.value = f"<div role='status' aria-live='polite'>{said}</div>"
