"""The rollback where things are not as they should be: what stops it, and what does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbook_lib import chapters
from runbook_lib.base.errors import ParameterError, RunbookError
from runbook_lib.chapters.policies import authorization, mutual_tls
from runbook_lib.chapters.shared import RollbackStep
from runbook_lib.lifecycle.context import Context
from tests.labs import Lab, named, take

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(180)]

Kubectl = Callable[..., str]


@pytest.fixture
def context(mesh: Lab, tmp_path: Path) -> Context:
    """The mesh with all policies, by the order that users do not notice."""
    context = mesh.context(tmp_path, story="safe")
    for chapter in (mutual_tls, authorization):
        for step in chapter.steps(context.parameters):
            plan = step.plan(context)
            if not plan.empty:
                step.apply(context, plan)
    return context


@pytest.fixture
def kubectl(mesh: Lab) -> Kubectl:
    """Run kubectl in the application's namespace."""
    return lambda *words, **more: mesh.run("kubectl", "--namespace", "xnat", *words, **more)


@pytest.fixture
def monitoring(mesh: Lab, kubectl: Kubectl) -> Iterator[str]:
    """Another team lets its monitoring in, and so, without the runbook's policy, nobody else."""
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "monitoring", "namespace": "xnat"},
        "spec": {"rules": [{"from": [{"source": {"namespaces": ["monitoring"]}}]}]},
    }
    mesh.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(policy))
    yield "AuthorizationPolicy xnat/monitoring"
    kubectl("delete", "authorizationpolicy", "monitoring")


def test_the_policy_that_lets_users_in_is_not_deleted(
    context: Context, mesh: Lab, monitoring: str
) -> None:
    with pytest.raises(RunbookError, match="users could no longer GET /") as refused:
        named(context, "rollback-authorization").plan(context)
    assert monitoring in refused.value.cause
    assert "rollback.leave_out" in refused.value.remedy
    assert mesh.request("GET").status_code == 200


@pytest.mark.usefixtures("monitoring")
def test_a_step_that_is_left_out_changes_nothing_and_says_so(mesh: Lab, tmp_path: Path) -> None:
    context = mesh.context(tmp_path, rollback={"leave_out": ["rollback-authorization"]})
    plan, verification = take(context, "rollback-authorization")
    assert plan.empty
    assert "rollback.leave_out" in plan.note
    assert verification.ok
    assert "left out" in str(verification)


def test_a_step_that_there_is_not_cannot_be_left_out(mesh: Lab, tmp_path: Path) -> None:
    context = mesh.context(tmp_path, rollback={"leave_out": ["rollback-everything"]})
    with pytest.raises(ParameterError, match="there is no step rollback-everything"):
        chapters.of("90_rollback", context.parameters)


def test_the_keys_of_a_running_mesh_are_not_deleted(mesh: Lab, tmp_path: Path) -> None:
    context = mesh.context(tmp_path, rollback={"kinds": True})
    step = named(context, "rollback-leftovers")
    plan = step.plan(context)
    # Istio was installed by other hands here, so nothing of it is the runbook's to delete.
    assert [change.ref for change in plan.changes if "istio" in change.ref] == []
    for release in ("istio-base", "istiod"):
        mesh.run(
            *("kubectl", "--namespace", "istio-system", "label", "secret", "--overwrite"),
            *("--selector", f"owner=helm,name={release}", "installed-by=istio-runbook"),
        )
    with pytest.raises(RunbookError, match="a control plane still uses") as refused:
        step.plan(context)
    assert "Deployment istio-system/istiod" in refused.value.cause


def test_what_another_istiod_needs_is_not_uninstalled(mesh: Lab, tmp_path: Path) -> None:
    # As after a canary, where the parameters still name the istiod from before it.
    labels = {"app": "istiod", "istio.io/rev": "next"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    next_istiod = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "istiod-next", "namespace": "istio-system", "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }
    for release in ("istio-base", "istiod"):
        mesh.run(
            *("kubectl", "--namespace", "istio-system", "label", "secret", "--overwrite"),
            *("--selector", f"owner=helm,name={release}", "installed-by=istio-runbook"),
        )
    step = named(mesh.context(tmp_path), "rollback-istio")
    assert isinstance(step, RollbackStep)
    context = mesh.context(tmp_path)
    releases = ["Helm release istiod", "Helm release istio-base"]
    assert [change.ref for change in step.plan_removal(context).changes] == releases
    mesh.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(next_istiod))
    plan = step.plan_removal(context)
    assert [change.ref for change in plan.changes] == releases[:1]
    assert "istio-base stays: Deployment istio-system/istiod-next needs its kinds" in plan.note
    mesh.run("kubectl", "--namespace", "istio-system", "delete", "deployment", "istiod-next")


def test_a_policy_that_cannot_be_judged_stops_no_other_step(
    context: Context, kubectl: Kubectl
) -> None:
    condition = [{"key": "source.ip", "values": ["10.244.0.0/16"]}]
    patch = [{"op": "add", "path": "/spec/rules/0/when", "value": condition}]
    kubectl("patch", "authorizationpolicy", "xnat-all", "--type=json", "-p", json.dumps(patch))
    try:
        _, verification = take(context, "rollback-permissive")
    finally:
        kubectl("delete", "authorizationpolicy", "xnat-all")
    assert verification.ok, str(verification)
    assert "it is shown and not judged" in str(verification)


@pytest.fixture
def broken(mesh: Lab, context: Context, kubectl: Kubectl) -> None:
    """The application is away, for good; the label is the runbook's."""
    kubectl("label", "namespace", "xnat", "istio-injection-")
    label = named(context, "injection-label")
    label.apply(context, label.plan(context))
    kubectl("scale", "statefulset/xnat-xnat-web", "--replicas=0")
    kubectl("wait", "--for=delete", "pod/xnat-xnat-web-0", "--timeout=60s")
    mesh.until_answer("GET", 502, 503, timeout=30)


@pytest.mark.usefixtures("broken")
def test_a_site_that_is_down_already_does_not_stop_the_rollback(
    mesh: Lab, tmp_path: Path, kubectl: Kubectl
) -> None:
    # The time for policies is short: nothing may be waited for that cannot come.
    context = mesh.context(tmp_path, timeouts={"policy": 5})
    for step in chapters.of("90_rollback", context.parameters):
        if step.name == "rollback-istio":
            break
        _, verification = take(context, step.name)
        assert verification.ok, str(verification)
    assert "istio-proxy" not in kubectl(
        "get", "pods", "--output", "jsonpath={..containers[*].name}"
    )
    assert "No resources" in kubectl("get", "peerauthentications", "--all-namespaces")

    # Nor does it when somebody has taken the application away before the mesh.
    kubectl("delete", "statefulset", "xnat-xnat-web")
    _, verification = take(context, "rollback-sidecars")
    assert verification.ok, str(verification)
    assert "cannot tell: there is no StatefulSet xnat/xnat-xnat-web" in str(verification)
