"""A step that fails on a real mesh puts back what it changed, or prints what does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import ClusterRefused, RunbookError, VerificationFailed
from runbook_lib.lifecycle import Gate, LifeCycle, StepOutcome, record, runs
from runbook_lib.lifecycle.approvals import Approvals
from tests.labs import Lab, named

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

MakeStep = Callable[..., LifeCycle]


@pytest.fixture
def step(mesh: Lab, tmp_path: Path) -> MakeStep:
    """A step of the runbook on the mesh, with some parameters given, in a run of its own."""
    journal = runs.open_journal(tmp_path / "runs" / "r", "notebook")

    def make(name: str, **given: Any) -> LifeCycle:
        given["application"] = {"dicom": None}  # which takes its time
        context = replace(mesh.context(tmp_path, **given), journal=journal)
        gate = Gate(context.target, Approvals(), environ={})
        return LifeCycle(named(context, name), context, gate)

    return make


def applied(cycle: LifeCycle) -> LifeCycle:
    cycle.plan()
    cycle.gate()
    cycle.apply()
    return cycle


def take(cycle: LifeCycle) -> None:
    applied(cycle).verify()


@pytest.fixture
def foreign(mesh: Lab) -> Iterator[Callable[..., None]]:
    """Apply a policy to the web pods as another team would; gone after the test."""
    kinds: list[str] = []

    def apply(kind: str, **spec: Any) -> None:
        policy = {
            "apiVersion": "security.istio.io/v1",
            "kind": kind,
            "metadata": {"name": "other-team", "namespace": "xnat"},
            "spec": {"selector": {"matchLabels": {"app": "xnat-web"}}, **spec},
        }
        kinds.append(kind)
        mesh.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(policy))

    yield apply
    for kind in kinds:
        mesh.run("kubectl", "-n", "xnat", "delete", kind, "other-team", "--wait")


@pytest.fixture
def reading(mesh: Lab, step: MakeStep) -> Iterator[LifeCycle]:
    """The policy about methods at its first stage: whoever writes is denied."""
    cycle = step("authorization-read-only")
    take(cycle)
    yield cycle
    policy = ("authorizationpolicy", "xnat-all")
    mesh.run("kubectl", "-n", "xnat", "delete", *policy, "--wait", "--ignore-not-found")
    mesh.until_answer("POST", 200, timeout=30)


def fields_of(mesh: Lab, kind: str, name: str, namespace: str) -> Any:
    """Everything that somebody has set of an object, and who manages it."""
    words = ("get", kind, name, "--output=json", "--show-managed-fields")
    item = json.loads(mesh.run("kubectl", "-n", namespace, *words))
    managed = [{**m, "time": ""} for m in item["metadata"]["managedFields"]]
    return item["spec"], item["metadata"].get("annotations"), managed


def deny_post(foreign: Callable[..., None]) -> None:
    rules = [{"to": [{"operation": {"methods": ["POST"]}}]}]
    foreign("AuthorizationPolicy", action="DENY", rules=rules)


def test_a_policy_that_did_not_exist_is_gone_again_and_the_site_answers_as_before(
    mesh: Lab, step: MakeStep, foreign: Callable[..., None]
) -> None:
    foreign("PeerAuthentication", portLevelMtls={"8080": {"mode": "PERMISSIVE"}})
    cycle = step("mutual-tls-strict", on_failure="revert", timeouts={"policy": 5})
    shown = str(cycle.plan().plan)
    assert "PeerAuthentication istio-system/default is removed again" in shown
    with pytest.raises(RunbookError, match="Taken back, and proved: PeerAuthentication"):
        take(cycle)
    assert cycle.outcome is StepOutcome.TAKEN_BACK
    assert "NotFound" in mesh.run(
        *("kubectl", "-n", "istio-system", "get", "peerauthentication", "default"), check=False
    )
    assert mesh.request("GET").status_code == 200


def test_a_policy_at_an_earlier_stage_is_at_it_again_and_still_the_runbooks_own(
    mesh: Lab, step: MakeStep, reading: LifeCycle, foreign: Callable[..., None]
) -> None:
    before = fields_of(mesh, "authorizationpolicy", "xnat-all", "xnat")
    deny_post(foreign)
    final = step("authorization-methods", on_failure="revert", timeouts={"policy": 5})
    with pytest.raises(VerificationFailed, match=r"other-team(?s:.*)Taken back, and proved"):
        take(final)
    assert final.outcome is StepOutcome.TAKEN_BACK
    assert fields_of(mesh, "authorizationpolicy", "xnat-all", "xnat") == before
    assert reading.plan().plan.empty
    answers = mesh.request("GET").status_code, mesh.request("POST").status_code
    assert answers == (200, 403)


def test_the_printed_command_does_the_same_by_hand(
    mesh: Lab, step: MakeStep, reading: LifeCycle, foreign: Callable[..., None]
) -> None:
    before = fields_of(mesh, "authorizationpolicy", "xnat-all", "xnat")
    deny_post(foreign)
    final = step("authorization-methods", on_failure="stop", timeouts={"policy": 5})
    with pytest.raises(VerificationFailed, match="Not taken back: on_failure is stop") as caught:
        take(final)
    assert final.outcome is StepOutcome.FAILED
    assert (
        not reading.plan().plan.empty
        or fields_of(mesh, "authorizationpolicy", "xnat-all", "xnat") != before
    )
    mesh.run("sh", "-c", str(caught.value).splitlines()[-1])
    assert fields_of(mesh, "authorizationpolicy", "xnat-all", "xnat") == before


def test_what_others_have_changed_since_is_left_to_them(
    mesh: Lab, step: MakeStep, reading: LifeCycle, foreign: Callable[..., None]
) -> None:
    del reading
    deny_post(foreign)
    final = applied(step("authorization-methods", on_failure="revert", timeouts={"policy": 5}))
    policy = ("authorizationpolicy", "xnat-all")
    mesh.run("kubectl", "-n", "xnat", "annotate", *policy, "owner=somebody")
    theirs = fields_of(mesh, *policy, "xnat")
    with pytest.raises(VerificationFailed, match="others have changed AuthorizationPolicy") as seen:
        final.verify()
    assert fields_of(mesh, *policy, "xnat") == theirs
    assert "| kubectl --kubeconfig " in str(seen.value).splitlines()[-1]
    assert final.outcome is StepOutcome.FAILED


def test_a_label_whose_webhook_does_not_answer_is_taken_off_again(
    mesh: Lab, step: MakeStep, tmp_path: Path
) -> None:
    """Until then no pod of the namespace could be created."""
    mesh.run("kubectl", "label", "namespace", "xnat", "istio-injection-")
    label = step("injection-label", on_failure="revert")
    try:
        applied(label)
        mesh.set_webhook_port(15999)
        with pytest.raises(ClusterRefused, match="Taken back, and proved: Namespace xnat"):
            label.verify()
        labels = mesh.run("kubectl", "get", "namespace", "xnat", "--show-labels")
        assert "istio-injection" not in labels
    finally:
        mesh.set_webhook_port(443)
        mesh.run("kubectl", "label", "namespace", "xnat", "istio-injection=enabled", "--overwrite")
    (attempt,) = record.of(tmp_path / "runs" / "r" / runs.EVIDENCE).steps
    assert attempt.outcome is StepOutcome.TAKEN_BACK
    assert attempt.taken_back is not None
    shown = [table.title for table in attempt.taken_back.tables]
    assert shown == ["Taken back", "Sidecars", "From outside, over fresh connections"]
