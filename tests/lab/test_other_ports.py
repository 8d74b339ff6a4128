"""Policies on a real mesh: other ports of the web pods, other teams, other replicas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import RunbookError, WaitTimeout
from runbook_lib.base.wait import State, until
from runbook_lib.chapters.policies import authorization, manifest, mutual_tls
from runbook_lib.chapters.policies import rollback as policies
from runbook_lib.chapters.shared import front
from runbook_lib.lab.foundation.state import marked_processes
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.step import Verification
from runbook_lib.lifecycle.table import Row
from runbook_lib.mesh import traffic, web
from runbook_lib.site import CLOSED, Expectation, Observed, Probe, dicom, probe
from tests.labs import LOGIN_PAGE, Lab, named

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(180)]

MakeContext = Callable[..., Context]
SERVICE = "xnat-xnat-web-dicom-scp"
CLOSING = {"application": {"plaintext_ports": [], "dicom": None}}
"""Parameters that do not name the port."""


@pytest.fixture
def make(mesh: Lab, tmp_path: Path) -> Iterator[MakeContext]:
    """Contexts in the safe story; the policies are gone after the test."""
    yield lambda **given: mesh.context(tmp_path, **{"story": "safe", **given})
    for kind in ("peerauthentication", "authorizationpolicy", "destinationrule"):
        for namespace in ("xnat", "istio-system"):
            mesh.run("kubectl", "--namespace", namespace, "delete", kind, "--all")


def steps(context: Context) -> list[Any]:
    """The steps that change policies."""
    *both, _asked = mutual_tls.steps(context.parameters)
    route, tried, _read, enforced, _asked = authorization.steps(context.parameters)
    return [*both, route, tried, enforced]


def carry_out(context: Context) -> list[Verification]:
    """Apply and verify every step of both chapters."""
    verified = []
    for step in steps(context):
        step.apply(context, step.plan(context))
        verified.append(step.verify(context))
    return verified


def test_a_port_that_is_reached_from_outside_is_never_closed_unseen(make: MakeContext) -> None:
    context = make(**CLOSING)
    for step in steps(context):
        with pytest.raises(
            RunbookError, match=rf"Service xnat/{SERVICE} \(NodePort\) leads to port 8104"
        ) as caught:
            step.plan(context)
        assert "application.plaintext_ports: [8104]" in caught.value.remedy


def test_a_port_for_the_cluster_alone_is_mentioned(make: MakeContext, mesh: Lab) -> None:
    def change(kind: str) -> None:
        patch = json.dumps({"spec": {"type": kind}})
        mesh.run("kubectl", "-n", "xnat", "patch", "service", SERVICE, "--patch", patch)

    context = make(**CLOSING)
    change("ClusterIP")
    try:
        for step in steps(context):
            plan = step.plan(context)
            assert not plan.empty
            assert plan.note.startswith(
                f"Port 8104 of the web pods is reached through Service xnat/{SERVICE}, from the "
                "cluster alone"
            )
    finally:
        change("NodePort")


def _received(mesh: Lab) -> bool:
    """Whether an imaging device outside of the cluster is answered, at the node's address."""
    return dicom.echo(*mesh.receiver()).answered


def _until_received(mesh: Lab, *, open_: bool) -> None:
    def observe() -> State:
        answered = _received(mesh)
        return State(answered is open_, f"answered: {answered}")

    until(f"DICOM to be {'received' if open_ else 'refused'}", observe, timeout=30, successes=3)


@pytest.fixture
def balanced(mesh: Lab) -> Iterator[str]:
    """The web pods behind a load balancer that passes bytes on, as a network load balancer does."""
    mesh.run("kubectl", "-n", "xnat", "create", "service", "loadbalancer", "nlb", "--tcp=80:8080")
    selector = {"spec": {"selector": {"app": None, "app.kubernetes.io/name": "xnat-web"}}}
    mesh.run("kubectl", "-n", "xnat", "patch", "service", "nlb", "--patch", json.dumps(selector))
    query = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    get = ("kubectl", "-n", "xnat", "get", "service", "nlb", "--output", query)
    until("the load balancer", lambda: State(bool(mesh.run(*get)), "not there yet"), timeout=20)
    yield f"http://{mesh.run(*get)}"
    mesh.run("kubectl", "-n", "xnat", "delete", "service", "nlb", "--wait")


def test_strict_is_a_closed_connection_and_a_denial_istios_own_behind_another_load_balancer(
    make: MakeContext, balanced: str
) -> None:
    context = make()
    apply, labels = context.cluster.apply, web.labels(context.cluster, context.parameters)
    apply(manifest.strict_mutual_tls(context.parameters))
    apply(manifest.authorization_policy(context.parameters, labels, ["GET"]))

    def ask(method: str, expected: Expectation) -> Observed:
        asked = [Probe(method, LOGIN_PAGE, expected)]
        (row,) = probe.prove(balanced, asked, timeout=30, probe_timeout=5).rows
        return row.observed

    assert ask("GET", CLOSED).error == "connection reset"
    apply(manifest.mutual_tls_exception(context.parameters, labels))
    assert ask("GET", Expectation(200, by_sidecar=True)).status == 200
    assert ask("PATCH", traffic.DENIED).headers["server"] == "istio-envoy"
    named = [each.kind.name for each in front.in_front(context) if each.kind]
    assert named == ["an application load balancer of AWS"]


def test_each_policy_closes_the_port_unless_it_names_it(make: MakeContext, mesh: Lab) -> None:
    """What the parameter is there for."""
    without, named = make(**CLOSING).parameters, make().parameters
    apply = make().cluster.apply
    labels = web.labels(make().cluster, named)
    apply(manifest.strict_mutual_tls(without))
    apply(manifest.mutual_tls_exception(without, labels))
    _until_received(mesh, open_=False)
    apply(manifest.mutual_tls_exception(named, labels))
    _until_received(mesh, open_=True)
    apply(manifest.authorization_policy(without, labels, ["GET"]))
    _until_received(mesh, open_=False)
    apply(manifest.authorization_policy(named, labels, ["GET"]))
    _until_received(mesh, open_=True)


def test_a_port_that_the_parameters_name_stays_open(make: MakeContext, mesh: Lab) -> None:
    assert _received(mesh)
    context = make()
    exception, _strict, _route, dry_run, final = carry_out(context)
    opened = Row(("xnat-xnat-web-0", "8104", "DISABLE", "accepted"), ok=True)
    assert opened in exception.tables[2].rows
    in_force = ("xnat", "xnat-all", "ALLOW", "GET, HEAD, POST, everything on 8104", "yes")
    assert Row(in_force) in final.tables[1].rows
    answered = Row((f"Service xnat/{SERVICE} (NodePort)", "answers C-ECHO", "answered"), ok=True)
    for verified in (dry_run, final):
        assert verified.ok
        assert verified.tables[-1].rows == (answered,)
        assert verified.tables[2].rows == (
            Row(("xnat-xnat-web-0", "8080", "GET, HEAD, POST"), ok=True),
            Row(("xnat-xnat-web-0", "8104", "everything"), ok=True),
        )
    assert _received(mesh)
    assert mesh.request("DELETE").status_code == 403
    for step in steps(context):
        assert step.plan(context).empty
    given = context.parameters
    for back in (*policies.authorization_steps(given), *policies.mutual_tls_steps(given)):
        back.apply(context, back.plan(context))
        assert back.verify(context).ok
        assert _received(mesh)


@pytest.fixture
def shop(mesh: Lab) -> Iterator[str]:
    """A namespace of another team in the same mesh."""
    mesh.run("kubectl", "create", "namespace", "shop")
    mesh.run("kubectl", "label", "namespace", "shop", "istio-injection=enabled")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "till", "labels": {"app": "till"}},
        "spec": {"containers": [{"name": "c", "image": "lab.invalid/c:1"}]},
    }
    mesh.run("kubectl", "-n", "shop", "apply", "--filename", "-", stdin=json.dumps(pod))
    yield "shop"
    mesh.run("kubectl", "delete", "namespace", "shop", "--wait")


def test_strict_names_the_namespaces_of_others_as_part_of_what_is_approved(
    make: MakeContext, mesh: Lab, shop: str
) -> None:
    context = make()
    exception, strict, _asked = mutual_tls.steps(context.parameters)
    plan = strict.plan(context)
    (text,) = plan.unpredictable
    assert f"who calls pods with sidecars in {shop}: " in text
    assert plan.digest != replace(plan, unpredictable=()).digest
    assert exception.plan(context).unpredictable == ()
    own = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "own", "namespace": shop},
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }
    mesh.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(own))
    assert strict.plan(context).unpredictable == ()


@pytest.fixture
def replica(mesh: Lab) -> Iterator[str]:
    """A second web pod."""
    web = "statefulset/xnat-xnat-web"
    # It would decide for one pod.
    mesh.run("kubectl", "-n", "xnat", "delete", "horizontalpodautoscaler", "xnat-xnat-web")
    mesh.run("kubectl", "-n", "xnat", "scale", web, "--replicas=2")
    mesh.run("kubectl", "-n", "xnat", "rollout", "status", web, "--timeout=60s")
    yield "xnat-xnat-web-1"
    mesh.run("kubectl", "-n", "xnat", "scale", web, "--replicas=1")


def test_authorization_is_verified_only_when_every_replica_has_it(
    make: MakeContext, mesh: Lab, replica: str
) -> None:
    """The second pod's agent takes nothing up while it is stopped; its sidecar is named."""
    context = make(timeouts={"policy": 5})
    final = named(context, "authorization-methods")
    agent = next(
        process
        for process in marked_processes(mesh.name)
        if process.name() == "pilot-agent" and f"_{replica}_" in process.cwd()
    )
    agent.suspend()
    try:
        final.apply(context, final.plan(context))
        with pytest.raises(WaitTimeout, match=f"{replica} port 8080: no policy in place of GET"):
            final.verify(context)
    finally:
        agent.resume()
    verified = final.verify(make())
    assert [row.cells[0] for row in verified.tables[2].rows] == [
        *["xnat-xnat-web-0"] * 2,
        *[replica] * 2,
    ]
