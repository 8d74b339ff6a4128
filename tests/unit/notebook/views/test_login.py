"""Buttons that show a token: in a frame, and in nothing that Jupyter saves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import ipywidgets
import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.chapters.kiali.login import Login
from runbook_lib.lifecycle.table import Table
from runbook_lib.notebook.views import login as login_view
from runbook_lib.notebook.views.login import LoginView

TOKEN = "eyJhbGciOi.eyJzdWIi.c2ln"
WIDGET = "application/vnd.jupyter.widget-view+json"


class Output:
    """Stands for an output of the cell."""

    def __init__(self) -> None:
        self.bundles: list[dict[str, Any]] = []

    def show(self, text: str, html: str, more: dict[str, Any] | None = None) -> None:
        self.bundles.append({"text/plain": text, "text/html": html, **(more or {})})


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[Output]:
    made: list[Output] = []

    def output() -> Output:
        made.append(Output())
        return made[-1]

    monkeypatch.setattr(login_view, "LiveOutput", output)
    return made


def mint(account: str) -> str:
    if account == "gone":
        raise RunbookError("there is no account gone", "make it first")
    return TOKEN


@pytest.fixture
def view(outputs: list[Output]) -> Iterator[LoginView]:  # noqa: ARG001 - it is replaced
    ways = Table.shown("Ways into Kiali", ("what", "how"), [("token", "kubectl create token ana")])
    login = Login(ways, ("ana", "gone"), mint, lambda account: f"kubectl create token {account}")
    shown = LoginView(login, "<table></table>")
    shown.show()
    yield shown
    shown._close()


def frame(outputs: list[Output]) -> str:
    (url,) = re.findall(r"<iframe src='([^']+)'", last(outputs)["text/html"])
    return str(url)


def last(outputs: list[Output]) -> dict[str, Any]:
    return next(output for output in outputs if WIDGET not in output.bundles[0]).bundles[-1]


def saved(outputs: list[Output]) -> str:
    """All that a notebook saves: outputs, and the state of all widgets."""
    shown = [bundle for output in outputs for bundle in output.bundles]
    return json.dumps([shown, ipywidgets.Widget.get_manager_state(drop_defaults=False)])


def test_a_token_is_shown_in_a_frame_and_nowhere_else(
    view: LoginView, outputs: list[Output]
) -> None:
    view._buttons[0].click()
    assert TOKEN not in saved(outputs)
    assert TOKEN in httpx.get(frame(outputs), trust_env=False).text
    assert TOKEN not in saved(outputs)


def test_another_press_ends_the_page_before(view: LoginView, outputs: list[Output]) -> None:
    view._buttons[0].click()
    first = frame(outputs)
    view._buttons[0].click()
    assert frame(outputs) != first
    with pytest.raises(httpx.ConnectError):
        httpx.get(first, trust_env=False)


def test_when_it_is_gone_the_notebook_says_so(view: LoginView, outputs: list[Output]) -> None:
    view._buttons[0].click()
    page = view._page
    assert page is not None
    page.close()
    page._thread.join(5)
    assert "has disappeared" in last(outputs)["text/html"]
    assert "<iframe" not in last(outputs)["text/html"]


def test_a_browser_on_another_machine_gets_the_command(
    view: LoginView, outputs: list[Output]
) -> None:
    view._buttons[0].click()
    assert "kubectl create token ana" in last(outputs)["text/plain"]
    assert "kubectl create token ana" in last(outputs)["text/html"]


def test_what_goes_wrong_is_said_below_the_buttons(view: LoginView, outputs: list[Output]) -> None:
    view._buttons[1].click()
    assert "there is no account gone" in last(outputs)["text/html"]
    assert "make it first" in last(outputs)["text/html"]
