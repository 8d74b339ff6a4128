"""Sidecars where something stands in the way of them, or beside them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.wait import State, until
from runbook_lib.lifecycle.context import Context
from runbook_lib.mesh import patience
from runbook_lib.mesh.callers.manifest import CALLER
from tests.labs import Lab, named, take

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(180)]

WEBHOOKS = "mutatingwebhookconfiguration/istio-sidecar-injector"

MakeContext = Callable[..., Context]


@pytest.fixture(scope="module")
def installed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Istio beside an application that knows nothing of it."""
    context = lab.context(tmp_path_factory.mktemp("installing"))
    for name in ("install-base", "install-istiod"):
        _, verification = take(context, name)
        assert verification.ok, str(verification)
    return lab


@pytest.fixture
def make(installed: Lab, tmp_path: Path) -> MakeContext:
    return lambda **given: installed.context(tmp_path, **given)


@pytest.fixture
def unreachable(installed: Lab) -> Iterator[None]:
    """The webhook's port is closed: nothing is there."""
    installed.set_webhook_port(15999)
    yield
    installed.set_webhook_port(443)


@pytest.mark.usefixtures("unreachable")
def test_an_istiod_that_the_api_server_does_not_reach_injects_nothing(
    installed: Lab, make: MakeContext
) -> None:
    context = make()

    def observe() -> State:
        verification = named(context, "install-istiod").verify(context)
        return State(not verification.ok, str(verification))

    # API servers take a moment to hear of webhooks that have changed.
    until("the webhook to be missed", observe, timeout=30)
    verification = named(context, "install-istiod").verify(context)
    assert "is TCP 15017 open to istiod's pods?" in str(verification)
    with pytest.raises(RunbookError, match="gets no answer") as refused:
        named(context, "injection-label").plan(context)
    assert "TCP 15017" in f"{refused.value}"
    labels = installed.run("kubectl", "get", "namespace", "xnat", "--show-labels")
    assert "istio-injection" not in labels


def test_one_pod_is_tried_first_and_no_traffic_reaches_it(
    installed: Lab, make: MakeContext
) -> None:
    context = make(application={"canary": True})
    step = named(context, "injection-canary")
    plan = step.plan(context)
    assert [change.action for change in plan.changes] == ["run"]
    over, answers, served = Event(), Counter[int](), set[str]()

    def send() -> None:
        while not over.is_set():
            answers[installed.request("GET").status_code] += 1
            slices = installed.run("kubectl", "-n", "xnat", "get", "endpointslices", "-o", "yaml")
            served.update(re.findall(r"name: (\S*caller\S*)", slices))

    sender = Thread(target=send)
    sender.start()
    try:
        step.apply(context, plan)
    finally:
        over.set()
        sender.join()
    verification = step.verify(context)
    assert verification.ok, str(verification)
    assert "had its rights" in str(verification)
    assert set(answers) == {200}
    assert served == set()
    found = installed.run("kubectl", "--namespace", "xnat", "get", "jobs,pods", "--output=name")
    assert "caller" not in found


@pytest.fixture
def closed(installed: Lab) -> Iterator[None]:
    """No pod of the application's namespace reaches istiod: only names are still looked up."""
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed", "namespace": "xnat"},
        "spec": {
            "podSelector": {"matchExpressions": [{"key": CALLER, "operator": "Exists"}]},
            "policyTypes": ["Egress"],
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}],
        },
    }
    installed.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(policy))
    yield
    installed.run("kubectl", "--namespace", "xnat", "delete", "networkpolicy", "closed")


@pytest.mark.usefixtures("closed")
def test_a_pod_whose_sidecar_hears_nothing_of_istiod_ends_the_chapter(
    installed: Lab, make: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make(application={"canary": True})
    step = named(context, "injection-canary")
    plan = step.plan(context)
    monkeypatch.setattr(patience, "LEAST", 10)
    with pytest.raises(RunbookError, match=r"caller xnat/\S+ to be ready") as failed:
        step.apply(context, plan)
    assert "istio-proxy" in failed.value.cause
    assert installed.request("GET").status_code == 200
    found = installed.run("kubectl", "--namespace", "xnat", "get", "jobs,pods", "--output=name")
    assert "caller" not in found


@pytest.fixture
def pipeline(installed: Lab) -> Iterator[Callable[[str], str]]:
    """Starts Jobs of long-running pods; returns the pod's name."""

    def start(name: str) -> str:
        job: dict[str, Any] = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": "xnat"},
            "spec": {
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "main", "image": "lab.invalid/portal-stand-in:1"}],
                    }
                }
            },
        }
        pods = ("kubectl", "--namespace", "xnat", "get", "pods", f"--selector=job-name={name}")
        installed.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(job))
        until(
            f"the pod of {name}",
            lambda: State("Running" in installed.run(*pods), "not there yet"),
            timeout=60,
        )
        return installed.run(*pods, "--output=jsonpath={.items[0].metadata.name}")

    yield start
    installed.run("kubectl", "--namespace", "xnat", "delete", "jobs", "--all")


def test_jobs_are_neither_restarted_nor_in_the_way(
    make: MakeContext, pipeline: Callable[[str], str]
) -> None:
    context = make()
    before = pipeline("before")
    assert take(context, "injection-label")[1].ok
    plan, verification = take(context, "injection-restart")
    assert verification.ok, str(verification)
    assert "before" not in plan.summary
    assert f"Of Jobs, without a sidecar until they end: {before}." in verification.note
    after = pipeline("after")
    plan, verification = take(context, "rollback-sidecars")
    assert verification.ok, str(verification)
    assert f"{after}: they end by themselves" in str(verification)
