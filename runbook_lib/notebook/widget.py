"""The gate as buttons in a notebook. Imported only when there is somebody to press them."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets  # type: ignore[import-untyped] # it comes without types

from runbook_lib.base import style
from runbook_lib.lifecycle import GateAnswer
from runbook_lib.notebook.asking import Question
from runbook_lib.notebook.outputs import LiveOutput, failed_click, widget_view
from runbook_lib.notebook.views import plan_html

_STYLE = style.sheet("gate")

_SIGNS = {GateAnswer.APPROVED: "✓", GateAnswer.SKIPPED: "↷", GateAnswer.STOPPED: "■"}


class GateView:
    """One question on the screen: what is asked, three buttons, and where the decision stands.

    Two outputs: a notebook that is opened without its kernel has no widgets, and says so in their
    place, whatever other forms that output has. What was asked and who decided stays readable.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._asked = LiveOutput()
        self._decision = LiveOutput()
        self._shown, self._ruling = False, question.case.ruling
        self._status = ipywidgets.HTML(_STYLE)
        self._name = ipywidgets.Text(
            placeholder=question.target.name,
            description=f"Type {question.target.name} to approve:",
            style={"description_width": "initial"},
            layout={"width": "40em", "max_width": "100%"},
        )
        self._approve = _button("Approve", "check", "Apply exactly this plan", "success")
        self._skip = _button("Skip", "step-forward", "Leave this step out", "")
        self._stop = _button("Stop", "stop", "Apply nothing more in this notebook", "danger")
        self._box = self._build()
        question.case.listeners.append(self._refresh)

    def show(self) -> None:
        """Show it below the current cell."""
        self._show_asked()
        self._decision.show(*self._standing(), widget_view(self._box))
        self._shown = True

    def _show_asked(self) -> None:
        question = self._question
        html = f"{_STYLE}<div class='rb-gate rb-widget'>{_asked_html(question)}</div>"
        self._asked.show(str(question), html)

    def _build(self) -> ipywidgets.VBox:
        question = self._question
        self._on_click(self._approve, lambda: question.approve(self._name.value))
        self._on_click(self._skip, question.skip)
        self._on_click(self._stop, question.stop)
        self._name.observe(lambda _change: self._refresh(), names="value")
        buttons = ipywidgets.HBox([self._approve, self._skip, self._stop])
        asked = [self._name] if question.target.production else []
        box = ipywidgets.VBox([*asked, buttons, self._status])
        box.add_class("rb-widget")
        self._refresh_open()
        return box

    def _on_click(self, button: ipywidgets.Button, decide: Callable[[], None]) -> None:
        def clicked(_button: ipywidgets.Button) -> None:
            try:
                decide()
            except Exception as error:
                self._status.value = _STYLE + _status_html(failed_click(error), "rb-stopped", "!")

        button.on_click(clicked)

    def _refresh(self) -> None:
        if self._shown and self._question.case.ruling != self._ruling:
            self._ruling = self._question.case.ruling
            self._show_asked()
        if not self._question.case.closed:
            self._refresh_open()
            return
        # Buttons that decide nothing any more must not look as if they did.
        self._decision.show(*self._standing())
        for widget in (*self._box.children, self._approve, self._skip, self._stop, self._box):
            widget.close()

    def _refresh_open(self) -> None:
        question = self._question
        ruling = question.case.ruling
        # Never the button just pressed: it would lose the keyboard's focus.
        nameless = ruling is None and question.name_missing(self._name.value)
        self._approve.disabled = nameless or not question.case.open
        self._skip.disabled = not question.case.open
        self._status.value = _STYLE + _ruling_html(question)

    def _standing(self) -> tuple[str, str]:
        """Return where it stands as text and HTML, for front ends without widgets and later."""
        question = self._question
        hint = "" if question.case.closed else question.without_buttons
        html = f"{_STYLE}{_ruling_html(question)}" + (f"<p>{escape(hint)}</p>" if hint else "")
        return "\n".join(filter(None, [question.status, hint])), html


def show(question: Question) -> None:
    """Show a question with its buttons."""
    GateView(question).show()


def _asked_html(question: Question) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(text)}</td></tr>"
        for name, text in question.facts
    )
    warnings = "".join(
        f"<div class='rb-warning'>⚠ {escape(warning)}</div>" for warning in question.warnings
    )
    return (
        f"<div class='rb-title'>Gate: {escape(question.step.title)}</div>{warnings}"
        f"<table>{rows}</table>{plan_html(question.plan)}"
    )


def _ruling_html(question: Question) -> str:
    ruling = question.case.ruling
    kind, sign = (f"rb-{ruling.answer}", _SIGNS[ruling.answer]) if ruling else ("", "…")
    return _status_html(question.status, kind, sign)


def _status_html(text: str, kind: str, sign: str) -> str:
    return (
        f"<div class='rb-gate'><div class='rb-status {kind}' role='status' aria-live='polite'>"
        f"{sign} {escape(text)}</div></div>"
    )


def _button(text: str, icon: str, tooltip: str, style: Any) -> ipywidgets.Button:
    return ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, button_style=style)
