from __future__ import annotations

from dataclasses import replace
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter

from runbook_lib.base.errors import NotApproved
from runbook_lib.lifecycle import operator
from runbook_lib.notebook import widget
from runbook_lib.notebook.widget import GateView
from tests.unit.doubles.asking import LATER, PLAN, Kernel
from tests.unit.samples import LAB, PRODUCTION

WIDGET = "application/vnd.jupyter.widget-view+json"


class Output:
    """Stands for the cell's output."""

    def __init__(self) -> None:
        self.bundles: list[dict[str, Any]] = []

    def show(self, text: str, html: str, more: dict[str, Any] | None = None) -> None:
        self.bundles.append({"text/plain": text, "text/html": html, **(more or {})})


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Output:
    shown = Output()
    monkeypatch.setattr(widget, "LiveOutput", lambda: shown)
    return shown


@pytest.fixture
def kernel(tmp_path: Any) -> Kernel:
    return Kernel(tmp_path)


def test_front_ends_without_widgets_get_the_question_and_an_instruction(
    output: Output, kernel: Kernel
) -> None:
    GateView(kernel.ask()).show()
    asked, buttons = output.bundles
    assert set(asked) == {"text/html", "text/plain"}
    assert set(buttons) == {WIDGET, "text/html", "text/plain"}
    for kind in ("text/html", "text/plain"):
        for part in (LAB.name, LAB.server, LAB.uid, "users see 502"):
            assert part in asked[kind]
        assert f"%env RUNBOOK_APPROVE={LAB.name}" in buttons[kind]


def test_without_a_kernel_it_stays_readable_what_was_asked_and_who_decided(
    output: Output, kernel: Kernel
) -> None:
    view = GateView(kernel.ask())
    view.show()
    assert "none yet" in output.bundles[0]["text/html"]
    view._approve.click()
    last = output.bundles[-1]
    assert WIDGET not in last, "no front end puts an error about widgets in its place"
    for kind in ("text/html", "text/plain"):
        assert "restart" in last[kind]
        assert f"approved by {operator()} at 2026-03-04 05:06:07 UTC" in last[kind]


def test_the_buttons_decide_and_the_status_says_so(output: Output, kernel: Kernel) -> None:
    view = GateView(kernel.ask())
    assert "Not decided yet" in view._status.value
    view._skip.click()
    assert kernel.gate.skipped(PLAN)
    assert "Skipped by" in view._status.value
    view._approve.click()
    assert "✓ Approved by" in view._status.value
    assert kernel.gate.require(PLAN)
    view._stop.click()
    assert "Stopped by" in view._status.value
    assert (view._approve.disabled, view._skip.disabled, view._stop.disabled) == (True, True, False)
    with pytest.raises(NotApproved):
        kernel.gate.require(PLAN)
    assert output.bundles == []


def test_production_needs_its_name_before_approve_can_be_pressed(
    output: Output, tmp_path: Any
) -> None:
    kernel = Kernel(tmp_path, PRODUCTION)
    view = GateView(kernel.ask())
    assert view._name in view._box.children
    assert view._approve.disabled
    view._approve.click()  # as a front end could that ignores that it is disabled
    assert "type its name to approve" in view._status.value
    view._name.value = "prod"
    assert not view._approve.disabled
    view._approve.click()
    assert kernel.gate.require(PLAN)
    assert output.bundles == []


def test_a_lab_needs_no_name(output: Output, kernel: Kernel) -> None:
    view = GateView(kernel.ask())
    assert view._name not in view._box.children
    assert output.bundles == []


def test_once_used_the_buttons_give_way_to_a_record(output: Output, kernel: Kernel) -> None:
    view = GateView(kernel.ask())
    view.show()
    view._approve.click()
    kernel.gate.applied(PLAN)
    last = output.bundles[-1]
    assert WIDGET not in last
    assert "it was applied" in last["text/html"]
    assert "No buttons here?" not in last["text/html"]


def test_closing_one_gate_leaves_the_buttons_of_another_alive(
    output: Output, kernel: Kernel
) -> None:
    first, other = GateView(kernel.ask()), GateView(kernel.ask(LATER))
    kernel.ask()
    assert (first._box.comm, first._approve.comm) == (None, None)
    assert other._box.comm is not None
    assert output.bundles


def test_a_decision_that_cannot_be_recorded_is_refused_on_the_screen(
    output: Output, kernel: Kernel
) -> None:
    kernel.journal.path.mkdir()
    view = GateView(kernel.ask())
    view._skip.click()
    assert "cannot write evidence" in view._status.value
    assert not kernel.gate.skipped(PLAN)
    assert output.bundles == []


def test_an_error_that_no_one_expected_is_shown_at_the_gate_without_secrets(
    output: Output, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise KeyError("getpwuid(): uid not found; token: abcdef123456")

    monkeypatch.setattr("runbook_lib.notebook.asking.operator", broken)
    view = GateView(kernel.ask())
    view._approve.click()
    assert "KeyError" in view._status.value
    assert "uid not found" in view._status.value
    assert "abcdef" not in view._status.value
    assert output.bundles == []


def test_warnings_and_texts_are_escaped(output: Output, kernel: Kernel) -> None:
    GateView(kernel.ask(replace(PLAN, note="<i>"), "<script>")).show()
    assert "<script>" not in output.bundles[0]["text/html"]
    assert "&lt;script&gt;" in output.bundles[0]["text/html"]


def test_a_page_made_by_nbconvert_shows_the_question_without_widgets(
    output: Output, kernel: Kernel
) -> None:
    GateView(kernel.ask()).show()
    outputs = [nbformat.v4.new_output("display_data", bundle) for bundle in output.bundles]
    cell = nbformat.v4.new_code_cell("step.gate()", outputs=outputs)
    page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert "What could go wrong" in page
    assert "No buttons here?" in page
