"""Sidecars where something stands in the way of them, or beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.wait import State, until
from runbook_lib.lifecycle.context import Context
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


def set_port(lab: Lab, port: int) -> None:
    """Have the API server ask for sidecars at another port of istiod's Service."""
    found = json.loads(lab.run("kubectl", "get", WEBHOOKS, "--output=json"))
    path = "/webhooks/{}/clientConfig/service/port"
    patch = [
        {"op": "replace", "path": path.format(number), "value": port}
        for number in range(len(found["webhooks"]))
    ]
    lab.run("kubectl", "patch", WEBHOOKS, "--type=json", f"--patch={json.dumps(patch)}")


@pytest.fixture
def unreachable(installed: Lab) -> Iterator[None]:
    """The webhook's port is closed: nothing is there."""
    set_port(installed, 15999)
    yield
    set_port(installed, 443)


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
