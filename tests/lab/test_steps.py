"""Steps on a real mesh, where things are not as the parameters say."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import (
    NotApproved,
    RunbookError,
    VerificationFailed,
    WaitFailed,
    WaitTimeout,
)
from runbook_lib.chapters.injection import steps as injection
from runbook_lib.chapters.policies import authorization, mutual_tls
from runbook_lib.lab.foundation.state import marked_processes
from runbook_lib.lifecycle.approvals import Approvals
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.operators import person
from runbook_lib.lifecycle.permission import agreed_time
from runbook_lib.lifecycle.review import files
from runbook_lib.lifecycle.review.gate import ReviewedGate
from runbook_lib.lifecycle.step import Step
from runbook_lib.mesh import patience
from tests.accounts import account
from tests.labs import Lab, named

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(240)]

MakeContext = Callable[..., Context]


@pytest.fixture
def make(mesh: Lab, tmp_path: Path) -> MakeContext:
    """Contexts on the mesh, with some parameters given."""
    return lambda **given: mesh.context(tmp_path, **given)


def label_and_restart(context: Context) -> tuple[Step, Step]:
    _, first, second = injection.steps(context.parameters)
    return first, second


@pytest.fixture
def kubectl(mesh: Lab) -> Callable[..., str]:
    """Run kubectl in the application's namespace."""
    return lambda *words, **more: mesh.run("kubectl", "--namespace", "xnat", *words, **more)


@pytest.fixture
def stranger(kubectl: Callable[..., str]) -> Iterator[str]:
    """A pod without a sidecar that belongs to nothing."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger"},
        "spec": {"containers": [{"name": "c", "image": "lab.invalid/c:1"}]},
    }
    kubectl("label", "namespace", "xnat", "istio-injection-")
    kubectl("apply", "--filename", "-", stdin=json.dumps(pod))
    kubectl("label", "namespace", "xnat", "istio-injection=enabled")
    yield "stranger"
    kubectl("delete", "pod", "stranger", "--wait")


def test_a_missing_namespace_is_an_error_and_is_not_created(make: MakeContext) -> None:
    context = make()
    application = context.parameters.application.model_copy(update={"namespace": "nowhere"})
    parameters = context.parameters.model_copy(update={"application": application})
    context = replace(context, parameters=parameters)
    with pytest.raises(RunbookError, match="Namespace nowhere: does not exist"):
        label_and_restart(context)[0].plan(context)
    assert context.cluster.get("v1", "Namespace", "nowhere") is None


def test_two_ways_to_ask_for_sidecars_contradict_each_other(make: MakeContext) -> None:
    context = make(istio={"revision": "canary"})
    with pytest.raises(RunbookError, match=r"istio-injection, which contradicts .*IST0123"):
        label_and_restart(context)[0].plan(context)


def test_a_plan_that_takes_two_persons_takes_two_accounts_of_the_cluster(
    make: MakeContext, mesh: Lab, kubectl: Callable[..., str], tmp_path: Path
) -> None:
    rules = {"persons": 2, "expires": 1}
    context = make(approval=rules)
    kubectl("label", "namespace", "xnat", "istio-injection-")
    step = label_and_restart(context)[0]
    plan, folder = step.plan(context), tmp_path / "reviewed"
    folder.mkdir()
    files.write(folder, "02_label_namespace", context.parameters, plan)

    def require() -> str:
        gate = ReviewedGate(
            *(context.target, Approvals(), files.read(folder), tmp_path),
            rules=context.parameters.approval,
            person=lambda: person(context.cluster),
            now=lambda: agreed_time(context.cluster),
        )
        gate.ask(plan, step, context.journal)
        return str(gate.require(plan))

    def approve(by: Lab) -> str:
        settings = [f"--set=approval.{key}={value}" for key, value in rules.items()]
        command = (sys.executable, "-m", "runbook_lib", "approve", str(folder), *settings)
        return by.run(*command, "--set=target.kind=lab")

    context.journal.notebook = "02_label_namespace"
    approve(mesh)  # the account that carries it out as well: it counts once
    with pytest.raises(NotApproved, match=r"2 persons have to approve .* and .* did"):
        require()
    kubectl("create", "clusterrolebinding", "reviewers", "--clusterrole=view", "--group=reviewers")
    with account(mesh, "ana", ["reviewers"]) as ana:
        assert "ana" in approve(ana)
    assert require().startswith(f"approved by {person(context.cluster)} at ")
    kubectl("label", "namespace", "xnat", "istio-injection=enabled")


def test_in_a_mesh_there_is_nothing_to_label_or_restart(make: MakeContext) -> None:
    context = make()
    for step in label_and_restart(context):
        assert step.plan(context).empty
        assert step.verify(context).ok


def test_an_upgrade_is_planned_from_what_istiod_reports(make: MakeContext, mesh: Lab) -> None:
    """In plan mode the plan holds the restarts that follow, and nothing is changed."""
    (newer,) = mesh.state.upgrades
    context = make(upgrade={"to": newer}, mode="plan")
    for release in ("istio-base", "istiod"):
        mesh.run(
            *("kubectl", "--namespace", "istio-system", "label", "secret"),
            *("--selector", f"owner=helm,name={release}", "installed-by=istio-runbook"),
        )
    istiod, restart = named(context, "upgrade-istiod"), named(context, "upgrade-restart")
    (change,) = istiod.plan(context).changes
    assert f"image: registry.istio.io/testing/pilot:{newer}" in change.text
    assert restart.plan(context).summary.count("restart StatefulSet") == 2
    assert context.istioctl.version().control_plane == mesh.state.istio_version


def test_a_workload_that_does_not_exist_is_named(make: MakeContext) -> None:
    order = ["StatefulSet/xnat-xnat-web", "Deployment/typo"]
    context = make(application={"restart_order": order})
    with pytest.raises(RunbookError, match="Deployment xnat/typo: there is none"):
        label_and_restart(context)[1].plan(context)


def test_a_pod_that_no_restart_would_reach_is_named(make: MakeContext, stranger: str) -> None:
    context = make()
    step = label_and_restart(context)[1]
    with pytest.raises(RunbookError, match=f"Pod xnat/{stranger}: it has no istio-proxy") as caught:
        step.plan(context)
    assert "sidecar.istio.io/inject" in caught.value.remedy
    assert not step.verify(context).ok


def test_a_pod_that_wants_no_sidecar_is_left_alone(
    make: MakeContext, stranger: str, kubectl: Callable[..., str]
) -> None:
    kubectl("label", "pod", stranger, "sidecar.istio.io/inject=false")
    context = make()
    step = label_and_restart(context)[1]
    assert step.plan(context).empty
    assert step.verify(context).ok


def test_a_restart_without_the_label_ends_at_once_and_says_why(
    make: MakeContext, kubectl: Callable[..., str]
) -> None:
    kubectl("label", "namespace", "xnat", "istio-injection-")
    kubectl("rollout", "restart", "statefulset/xnat-postgresql")
    kubectl("rollout", "status", "statefulset/xnat-postgresql", "--timeout=60s")
    context = make()
    step = label_and_restart(context)[1]
    plan = step.plan(context)
    assert plan.summary == "restart StatefulSet xnat/xnat-postgresql"
    assert plan.changes[0].text == "xnat-postgresql-0: has no istio-proxy"
    with pytest.raises(WaitFailed, match="was created without istio-proxy") as caught:
        step.apply(context, plan)
    assert not isinstance(caught.value, WaitTimeout)
    kubectl("label", "namespace", "xnat", "istio-injection=enabled")
    step.apply(context, step.plan(context))
    assert step.verify(context).ok
    template = json.loads(kubectl("get", "statefulset", "xnat-postgresql", "-o", "json"))
    annotations = template["spec"]["template"]["metadata"]["annotations"]
    assert "no sidecar" in annotations["istio-runbook/restart-reason"]


def test_a_restart_that_hangs_ends_in_time_and_says_what_it_waited_for(
    make: MakeContext,
    kubectl: Callable[..., str],
    mesh: Lab,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kubectl("label", "namespace", "xnat", "istio-injection-")
    kubectl("rollout", "restart", "statefulset/xnat-postgresql")
    kubectl("rollout", "status", "statefulset/xnat-postgresql", "--timeout=60s")
    kubectl("label", "namespace", "xnat", "istio-injection=enabled")
    context = make()
    monkeypatch.setattr(patience, "rollout_limit", lambda *_: 3)
    step = label_and_restart(context)[1]
    plan = step.plan(context)
    # Nobody answers for the webhook: the API server refuses every new pod.
    mesh.run("kubectl", "--namespace", "istio-system", "scale", "deployment/istiod", "--replicas=0")
    gone = ("wait", "pod", "--selector=app=istiod", "--for=delete", "--timeout=60s")
    mesh.run("kubectl", "--namespace", "istio-system", *gone)
    try:
        with pytest.raises(RunbookError, match="istiod for the sidecar, and gets no answer"):
            step.plan(context)
        with pytest.raises(WaitTimeout) as caught:
            step.apply(context, plan)
    finally:
        back = ("scale", "deployment/istiod", "--replicas=1")
        mesh.run("kubectl", "--namespace", "istio-system", *back)
        ready = ("rollout", "status", "deployment/istiod", "--timeout=60s")
        mesh.run("kubectl", "--namespace", "istio-system", *ready)
    assert "StatefulSet xnat/xnat-postgresql to be rolled out" in str(caught.value)
    assert "FailedCreate" in str(caught.value)
    assert "webhook" in str(caught.value)
    kubectl("delete", "pod", "xnat-postgresql-0", "--ignore-not-found")
    kubectl("rollout", "status", "statefulset/xnat-postgresql", "--timeout=60s")


def test_the_services_ports_are_found_through_the_containers_port(make: MakeContext) -> None:
    assert authorization.service_ports(make()) == [80]


def test_a_named_target_port_is_found_too(make: MakeContext, kubectl: Callable[..., str]) -> None:
    patch = '[{"op": "replace", "path": "/spec/ports/0/targetPort", "value": "http"}]'
    kubectl("patch", "service", "xnat-xnat-web", "--type", "json", "--patch", patch)
    assert authorization.service_ports(make()) == [80]
    back = patch.replace('"http"', "8080")
    kubectl("patch", "service", "xnat-xnat-web", "--type", "json", "--patch", back)


def test_the_services_port_in_place_of_the_containers_is_explained(make: MakeContext) -> None:
    context = make(application={"web": {"port": 80}})
    with pytest.raises(RunbookError, match=r"leads to the container port 80 .*80 → 8080"):
        authorization.service_ports(context)


def test_a_missing_service_is_named(make: MakeContext) -> None:
    context = make(application={"web": {"service": "typo"}})
    with pytest.raises(RunbookError, match="Service xnat/typo: there is none"):
        authorization.service_ports(context)


@pytest.fixture
def foreign(kubectl: Callable[..., str]) -> Iterator[Callable[..., None]]:
    """Apply a policy as another team would; gone after the test."""
    kinds: list[str] = []

    def apply(kind: str, **spec: Any) -> None:
        selector = {"matchLabels": {"app": "xnat-web"}}
        policy = {
            "apiVersion": "security.istio.io/v1",
            "kind": kind,
            "metadata": {"name": "other-team", "namespace": "xnat"},
            "spec": {"selector": selector, **spec},
        }
        kinds.append(kind)
        kubectl("apply", "--filename", "-", stdin=json.dumps(policy))

    yield apply
    for kind in kinds:
        kubectl("delete", kind, "other-team", "--wait")


def _methods(*names: str) -> list[dict[str, Any]]:
    return [{"to": [{"operation": {"methods": list(names)}}]}]


def test_a_site_that_another_policy_blocks_is_not_verified(
    mesh: Lab, make: MakeContext, foreign: Callable[..., None]
) -> None:
    """What others forbid does not become what is expected; their policy is named."""
    context = make(timeouts={"policy": 3})
    _, restart = label_and_restart(context)
    assert restart.verify(make()).ok
    foreign("AuthorizationPolicy", action="DENY", rules=_methods("GET"))
    mesh.until_answer("GET", 403, timeout=30, successes=3)
    with pytest.raises(VerificationFailed, match=r"AuthorizationPolicy xnat/other-team"):
        restart.verify(context)


def test_a_lockdown_that_another_policy_widens_is_not_verified(
    mesh: Lab, make: MakeContext, foreign: Callable[..., None], kubectl: Callable[..., str]
) -> None:
    """DELETE must be denied, whoever else allows it."""
    context = make(timeouts={"policy": 3})
    final = named(context, "authorization-methods")
    try:
        final.apply(context, final.plan(context))
        assert final.verify(make()).ok
        foreign("AuthorizationPolicy", action="ALLOW", rules=_methods("DELETE"))
        mesh.until_answer("DELETE", 405, timeout=30, successes=3)
        with pytest.raises(VerificationFailed, match=r"(?s)DELETE.*xnat/other-team"):
            final.verify(context)
    finally:
        kubectl("delete", "authorizationpolicy", "xnat-all", "--wait")


def test_strict_is_verified_only_when_every_sidecar_has_it(mesh: Lab, make: MakeContext) -> None:
    """The database's agent takes nothing up while it is stopped; its sidecar is named."""
    context = make(story="safe", timeouts={"policy": 3})
    exception, strict, _asked = mutual_tls.steps(context.parameters)
    agent = next(
        process
        for process in marked_processes(mesh.name)
        if process.name() == "pilot-agent" and "_xnat-postgresql-0_" in process.cwd()
    )
    try:
        exception.apply(context, exception.plan(context))
        assert exception.verify(make()).ok
        agent.suspend()
        strict.apply(context, strict.plan(context))
        with pytest.raises(
            WaitTimeout, match=r"xnat-postgresql-0 port 5432: plaintext is accepted"
        ):
            strict.verify(context)
        agent.resume()
        assert strict.verify(make()).ok
    finally:
        agent.resume()
        for namespace in ("istio-system", "xnat"):
            mesh.run("kubectl", "-n", namespace, "delete", "peerauthentication", "default")
