"""A person steps through the chapter on mutual TLS in JupyterLab."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from runbook_lib.lifecycle import StepApproved
from tests.browser.conftest import NOTEBOOK
from tests.browser.jupyterlab import CELL_TIMEOUT, Notebook, Server
from tests.labs import LOGIN_PAGE, Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

GATE = "first_step.gate()"
APPLY = "first_step.apply()"
VERIFY = "first_step.verify()"
SECOND_GATE = "second_step.gate()"
SECOND_APPLY = "second_step.apply()"
SECOND_VERIFY = "second_step.verify()"


def policies(lab: Lab) -> list[str]:
    names = ("get", "peerauthentication", "--all-namespaces", "--output", "name")
    return lab.run("kubectl", *names, "--ignore-not-found").split()


def statuses(notebook: Notebook, source: str) -> list[str]:
    """The column `status` of the table of probes below a cell."""
    tables = notebook.output(source).locator("table", has_text="From outside")
    table = tables.filter(has_text="method")  # devices are asked from outside, too
    return table.locator("tbody tr td:nth-child(3)").all_inner_texts()


def events(notebook: Notebook) -> list[str]:
    return [entry.event.name for entry in notebook.evidence()]


def test_run_all_stops_at_the_gate_and_shows_what_would_change(
    notebook: Notebook, mesh: Lab
) -> None:
    notebook.run_all()
    gate = notebook.output(GATE)
    for text in (f"lab-{mesh.name}", mesh.state.server, "users see 502", "PERMISSIVE"):
        expect(gate).to_contain_text(text)
    expect(gate.locator(".rb-add", has_text="mode: STRICT")).to_have_text("+    mode: STRICT")
    expect(gate).to_contain_text("Not decided yet")
    expect(notebook.output(APPLY)).to_contain_text("NotApproved: mutual-tls-strict")
    expect(notebook.output(APPLY)).not_to_contain_text("Traceback")
    expect(notebook.output(VERIFY)).to_be_empty()
    notebook.picture("gate", GATE)
    assert policies(mesh) == []


def test_approving_both_steps_shows_the_outage_and_its_end(notebook: Notebook) -> None:
    notebook.run_all()
    notebook.button("first_step", "Approve").click()
    expect(notebook.output(GATE)).to_contain_text("Approved by")
    notebook.picture("approved", GATE)
    notebook.run_from(APPLY)
    assert statuses(notebook, VERIFY) == ["502"] * 4
    expect(notebook.output(GATE)).to_contain_text("it was applied")
    expect(notebook.output(GATE).get_by_role("button")).to_have_count(0)
    notebook.picture("outage", VERIFY)
    expect(notebook.output(SECOND_APPLY)).to_contain_text("NotApproved: mutual-tls-exception")

    notebook.button("second_step", "Approve").click()
    notebook.run_from(SECOND_APPLY)
    assert statuses(notebook, SECOND_VERIFY) == ["200", "200", "302", "405"]
    notebook.picture("healed", SECOND_VERIFY)
    approved = [
        (entry.step, entry.event)
        for entry in notebook.evidence()
        if isinstance(entry.event, StepApproved)
    ]
    assert [step for step, _ in approved] == ["mutual-tls-strict", "mutual-tls-exception"]
    assert all(event.by and event.approved_at and event.digest for _, event in approved)


def test_run_all_goes_on_from_an_approval_and_a_second_time_finds_nothing_to_change(
    notebook: Notebook, mesh: Lab
) -> None:
    notebook.run_all()
    notebook.button("first_step", "Approve").click()
    expect(notebook.output(GATE)).to_contain_text("Approved by")
    notebook.run_all()
    expect(notebook.output(APPLY)).to_contain_text("Applied: create PeerAuthentication")
    notebook.button("second_step", "Approve").click()
    expect(notebook.output(SECOND_GATE)).to_contain_text("Approved by")
    notebook.run_all()
    assert len(policies(mesh)) == 2
    notebook.run_all()
    for source in (GATE, SECOND_GATE):
        expect(notebook.output(source)).to_contain_text("There is nothing to change")
    notebook.picture("nothing-to-change", "first_step.plan()")


def test_a_changed_parameter_voids_the_approval(notebook: Notebook, mesh: Lab) -> None:
    notebook.run_all()
    notebook.button("first_step", "Approve").click()
    expect(notebook.output(GATE)).to_contain_text("Approved by")
    notebook.rewrite("mutual_tls: Section = Section()", 'mutual_tls = {"policy": "whole-mesh"}')
    notebook.run_all()
    expect(notebook.output(GATE)).to_contain_text("The plan has changed.")
    expect(notebook.output(GATE)).to_contain_text("is void")
    expect(notebook.output(GATE)).to_contain_text("name: whole-mesh")
    expect(notebook.output(APPLY)).to_contain_text("NotApproved")
    notebook.picture("void", GATE)
    assert "approval-void" in events(notebook)
    assert policies(mesh) == []


def test_a_change_of_the_cluster_voids_the_approval(notebook: Notebook, mesh: Lab) -> None:
    notebook.run_all()
    notebook.button("first_step", "Approve").click()
    expect(notebook.output(GATE)).to_contain_text("Approved by")
    permissive = (
        "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, "
        "metadata: {name: default, namespace: istio-system, labels: {by: somebody}}}"
    )
    # As another run of the runbook would: what others make, the step refuses to change at all.
    apply = ("kubectl", "apply", "--server-side", "--field-manager=istio-runbook")
    mesh.run(*apply, "--filename", "-", stdin=permissive)
    notebook.run(APPLY)
    expect(notebook.output(APPLY)).to_contain_text("PlanChanged")
    expect(notebook.output(GATE)).to_contain_text("the plan has changed since")
    mode = ("get", "peerauthentication", "default", "--namespace", "istio-system")
    assert mesh.run("kubectl", *mode, "--output", "jsonpath={.spec}") == ""


def test_stop_applies_nothing_until_the_gate_is_run_again(notebook: Notebook, mesh: Lab) -> None:
    notebook.run_all()
    notebook.button("first_step", "Stop").click()
    expect(notebook.output(GATE)).to_contain_text("Stopped by")
    notebook.picture("stopped", GATE)
    expect(notebook.button("first_step", "Approve")).to_be_disabled()
    notebook.run_from(APPLY)
    expect(notebook.output(APPLY)).to_contain_text("NotApproved: mutual-tls-strict is not applied")
    assert policies(mesh) == []
    assert "stopped" in events(notebook)
    notebook.run(GATE)
    expect(notebook.output(GATE)).to_contain_text("Not decided yet")
    assert policies(mesh) == []


def test_a_skipped_step_is_left_out_and_the_next_one_says_so(notebook: Notebook, mesh: Lab) -> None:
    notebook.run_all()
    notebook.button("first_step", "Skip").click()
    expect(notebook.output(GATE)).to_contain_text("Skipped by")
    notebook.run_from(APPLY)
    expect(notebook.output(APPLY)).to_contain_text("Skipped: nothing was applied.")
    expect(notebook.output(VERIFY)).to_contain_text("Not verified: this step was skipped.")
    expect(notebook.output(SECOND_GATE)).to_contain_text("mutual-tls-strict")
    expect(notebook.output(SECOND_GATE)).to_contain_text("was skipped")
    notebook.picture("skipped", SECOND_GATE)
    assert "step-skipped" in events(notebook)
    assert policies(mesh) == []


def test_the_keyboard_is_enough(notebook: Notebook, mesh: Lab) -> None:
    notebook.run_all()
    press = notebook.page.keyboard.press
    notebook.button("first_step", "Approve").focus()
    press("Tab")
    expect(notebook.button("first_step", "Skip")).to_be_focused()
    press("Space")
    expect(notebook.output(GATE)).to_contain_text("Skipped by")
    press("Shift+Tab")
    press("Enter")
    expect(notebook.output(GATE)).to_contain_text("Approved by")
    expect(notebook.button("first_step", "Approve")).to_be_focused()
    assert policies(mesh) == []


def test_after_a_restart_of_the_kernel_nothing_is_approved(notebook: Notebook, mesh: Lab) -> None:
    notebook.run_all()
    notebook.button("first_step", "Approve").click()
    expect(notebook.output(GATE)).to_contain_text("Approved by")
    notebook.restart_kernel()
    notebook.run_all()
    expect(notebook.output(GATE)).to_contain_text("Not decided yet")
    assert policies(mesh) == []
    notebook.button("first_step", "Approve").click()
    notebook.run(APPLY)
    expect(notebook.output(APPLY)).to_contain_text("Applied: create PeerAuthentication")


def test_it_is_readable_in_the_dark_theme(notebook: Notebook, server: Server, mesh: Lab) -> None:
    server.set_theme("JupyterLab Dark")
    try:
        notebook.open(server.address(NOTEBOOK))
        notebook.run_all()
        gate = notebook.output(GATE)
        expect(gate).to_contain_text("Not decided yet", timeout=CELL_TIMEOUT)
        colour = gate.locator(".rb-add").first.evaluate("line => getComputedStyle(line).color")
        assert min(map(int, re.findall(r"\d+", colour)[:3])) > 150, colour
        notebook.picture("dark", GATE)
    finally:
        server.set_theme("JupyterLab Light")
    assert policies(mesh) == []


def test_waiting_shows_what_is_awaited_and_how_it_ended(notebook: Notebook, mesh: Lab) -> None:
    wanted = {"GET": 418, "HEAD": 200, "POST": 200, "DELETE": 405}  # nothing answers 418
    probes = [{"method": name, "path": LOGIN_PAGE, "status": code} for name, code in wanted.items()]
    notebook.rewrite("application: Section = Section()", f'application = {{"probes": {probes}}}')
    notebook.rewrite("story: str = None", 'story = "safe"')
    notebook.rewrite("timeouts: Section = Section()", 'timeouts = {"policy": 6}')
    notebook.run_all()
    notebook.button("first_step", "Approve").click()
    expect(notebook.output(GATE)).to_contain_text("Approved by")
    notebook.start_from(APPLY)
    # On a slow machine the wait for the sidecars, which comes first, is shown as well.
    waiting = notebook.output(VERIFY).locator(".rb-wait:not(.rb-done)")
    expect(waiting).to_contain_text("Waiting for", timeout=CELL_TIMEOUT)
    expect(waiting).to_contain_text("of at most 6 s")
    expect(waiting).to_contain_text("GET 200 XNAT stand-in")
    notebook.picture("waiting", VERIFY)
    expect(waiting).to_contain_text("which timed out", timeout=CELL_TIMEOUT)
    notebook.idle()
    expect(waiting).to_have_count(1)
    notebook.picture("waited", VERIFY)
    assert len(policies(mesh)) == 1
