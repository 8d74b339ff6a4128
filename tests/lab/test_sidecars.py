"""Sidecars that come and go on a real mesh, while pods take their time to leave or to start."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import ClusterRefused, WaitTimeout
from runbook_lib.base.wait import State, until
from runbook_lib.chapters.injection import rollback as sidecars
from runbook_lib.cluster.names import RESTARTED_AT
from runbook_lib.cluster.objects import name_of
from runbook_lib.lifecycle.context import Context
from runbook_lib.mesh import patience
from runbook_lib.mesh.injection import try_injection
from tests.labs import Lab, named

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(240)]

APPLICATION = ["StatefulSet/xnat-postgresql", "StatefulSet/xnat-xnat-web"]
LABEL = ("label", "namespace", "xnat", "--overwrite")

Kubectl = Callable[..., str]
MakeContext = Callable[..., Context]


@pytest.fixture
def kubectl(mesh: Lab) -> Kubectl:
    """Run kubectl in the application's namespace."""
    return lambda *words, **more: mesh.run("kubectl", "--namespace", "xnat", *words, **more)


@pytest.fixture
def make(mesh: Lab, tmp_path: Path) -> MakeContext:
    """Contexts on the mesh, with seconds for a rollout if they matter."""

    def context(kind: str, seconds: float = 60) -> Context:
        return mesh.context(
            tmp_path,
            application={"restart_order": [*APPLICATION, f"{kind}/worker"]},
            timeouts={"rollout": seconds},
        )

    return context


Worker = Callable[..., None]


@pytest.fixture
def worker(kubectl: Kubectl) -> Iterator[Worker]:
    """Make a workload of simulated pods; it is gone after the test."""
    kinds: list[str] = []

    def make(kind: str, replicas: int = 1, *, injected: bool = False, **spec: Any) -> None:
        labels = {"app": "worker"}
        manifest = {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": "worker"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "c", "image": "lab.invalid/c:1"}], **spec},
                },
            },
        }
        kinds.append(kind)
        if not injected:
            kubectl(*LABEL, "istio-injection-")
        kubectl("apply", "--filename", "-", stdin=json.dumps(manifest))
        if not spec:
            kubectl("rollout", "status", f"{kind}/worker", "--timeout=60s")
        if not injected:
            kubectl(*LABEL, "istio-injection=enabled")

    yield make
    for kind in kinds:
        kubectl("delete", kind, "worker", "--cascade=foreground", "--wait")


class Held:
    """Pods that take their time once they are deleted, as with `preStop`: until they are let go."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._names: list[str] = []

    def hold(self) -> str:
        """Hold the worker's last pod, and return its name."""
        selected = ("get", "pods", "--selector=app=worker", "--sort-by=.metadata.name")
        name = self._kubectl(*selected, "--output=name").split()[-1].removeprefix("pod/")
        self._finalize(name, ["lab.invalid/takes-its-time"])
        self._names.append(name)
        return name

    def let_go(self) -> None:
        """Let them end."""
        while self._names:
            self._finalize(self._names.pop(), None)

    def _finalize(self, name: str, finalizers: list[str] | None) -> None:
        patch = json.dumps({"metadata": {"finalizers": finalizers}})
        self._kubectl("patch", "pod", name, "--type=merge", f"--patch={patch}")


@pytest.fixture
def held(kubectl: Kubectl) -> Iterator[Held]:
    """Pods to hold; all are let go after the test."""
    pods = Held(kubectl)
    yield pods
    pods.let_go()


@pytest.fixture
def no_naked_pods(kubectl: Kubectl, make: MakeContext) -> Iterator[None]:
    """An admission policy that refuses pods of no workload, and so every dry run of one."""
    api, name = "admissionregistration.k8s.io/v1", "no-naked-pods"
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    policy = {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "has(object.metadata.ownerReferences)"}],
        },
    }
    binding = {
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    for item in (policy, binding):
        kubectl("apply", "--filename", "-", stdin=json.dumps(item))
    context = make("Deployment")

    def observe() -> State:
        try:
            return State(False, name_of(try_injection(context)))
        except ClusterRefused as error:
            return State(name in error.cause, error.cause)

    until("the policy to be in force", observe, timeout=30)
    yield
    for item in (binding, policy):
        kubectl("delete", str(item["kind"]), name)


def restarted_at(kubectl: Kubectl, kind: str) -> str:
    """When the worker was restarted last."""
    found = json.loads(kubectl("get", kind, "worker", "--output=json"))
    return str(found["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT])


def test_a_restart_is_verified_while_an_old_pod_takes_its_time(
    make: MakeContext, worker: Worker, held: Held
) -> None:
    worker("Deployment")
    old = held.hold()
    context = make("Deployment")
    step = named(context, "injection-restart")
    plan = step.plan(context)
    assert plan.changes[0].text == f"{old}: has no istio-proxy"
    step.apply(context, plan)
    assert step.plan(context).empty
    result = step.verify(context)
    assert result.ok
    assert result.note == f"Terminating, and without a sidecar until then: {old}."
    assert (old, "terminating", "none") in {
        (row.cells[0], *row.cells[2:]) for row in result.tables[0].rows
    }


def test_a_pod_that_waits_for_a_node_is_waited_for(make: MakeContext, worker: Worker) -> None:
    worker("Deployment", injected=True, nodeSelector={"size": "not-here"})
    context = make("Deployment", seconds=3)
    step = named(context, "injection-restart")
    assert step.plan(context).empty
    with pytest.raises(WaitTimeout, match=r"sidecars in xnat .*worker-\S+ 0/2 not scheduled: 0/1"):
        step.verify(context)


def test_a_rerun_goes_on_with_a_restart_that_ran_out_of_time(
    make: MakeContext,
    worker: Worker,
    held: Held,
    kubectl: Kubectl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker("StatefulSet", 2)
    last = held.hold()
    assert last == "worker-1"
    hasty = make("StatefulSet")
    monkeypatch.setattr(patience, "rollout_limit", lambda *_: 3)
    step = named(hasty, "injection-restart")
    with pytest.raises(WaitTimeout, match="worker-1 1/1 terminating"):
        step.apply(hasty, step.plan(hasty))
    before = restarted_at(kubectl, "StatefulSet")
    plan = step.plan(hasty)
    assert plan.empty
    assert "waited for: the pods of StatefulSet xnat/worker" in plan.note
    with pytest.raises(WaitTimeout, match="StatefulSet xnat/worker to be rolled out"):
        step.verify(hasty)
    held.let_go()
    monkeypatch.undo()
    patient = make("StatefulSet")
    assert step.verify(patient).ok
    assert restarted_at(kubectl, "StatefulSet") == before


@pytest.mark.usefixtures("no_naked_pods")
def test_sidecars_are_taken_back_where_no_pod_can_be_tried_out(
    make: MakeContext, worker: Worker, held: Held, kubectl: Kubectl
) -> None:
    """Last of all: afterwards there is no mesh. The pods themselves prove it."""
    context = make("Deployment")
    label = named(context, "injection-label")
    kubectl(*LABEL, "istio-injection-")
    label.apply(context, label.plan(context))
    labelled = label.verify(context)
    assert labelled.ok
    (_, last) = labelled.tables[0].rows
    subject, found = last.cells
    assert (subject, last.ok) == ("sidecar of a new pod", None)
    assert found.startswith("cannot tell: ")
    assert "no-naked-pods" in found

    worker("Deployment", injected=True)
    old = held.hold()
    (step,) = sidecars.steps(context.parameters)
    step.apply(context, step.plan(context))
    hasty = make("Deployment", seconds=3)
    assert step.plan(hasty).empty
    with pytest.raises(WaitTimeout, match=f"terminating pods with sidecars .*{old} .*terminating"):
        step.verify(hasty)
    held.let_go()
    result = step.verify(context)
    assert result.ok
    rows = {row.cells[0]: (row.cells[1], row.ok) for row in result.tables[0].rows}
    assert rows["label istio-injection"] == ("gone", True)
    assert rows["sidecar of a new pod"] == (found, None)
    assert rows["pods with a sidecar"] == ("none", True)
