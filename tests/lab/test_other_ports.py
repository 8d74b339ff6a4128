"""Policies on a real mesh: other ports of the web pods, other teams, other replicas."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import RunbookError, WaitTimeout
from runbook_lib.base.wait import State, until
from runbook_lib.chapters.policies import authorization, manifest, mutual_tls
from runbook_lib.chapters.policies import rollback as policies
from runbook_lib.lab.foundation.state import marked_processes
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.step import Verification
from runbook_lib.lifecycle.table import Row
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(180)]

MakeContext = Callable[..., Context]
DICOM = 8104
GIVEN = {"application": {"plaintext_ports": [DICOM]}}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "xnat-dicom", "namespace": "xnat"},
    "spec": {
        "type": "LoadBalancer",
        "selector": {"app": "xnat-xnat-web"},
        "ports": [{"name": "tcp-dicom", "port": 11112, "targetPort": "dicom"}],
    },
}


@pytest.fixture
def make(mesh: Lab, tmp_path: Path) -> Iterator[MakeContext]:
    """Contexts in the safe story; the policies are gone after the test."""
    yield lambda **given: mesh.context(tmp_path, **{"story": "safe", **given})
    for kind in ("peerauthentication", "authorizationpolicy", "destinationrule"):
        for namespace in ("xnat", "istio-system"):
            mesh.run("kubectl", "--namespace", namespace, "delete", kind, "--all")


@pytest.fixture(scope="module")
def scanning(mesh: Lab) -> None:
    """The web container also receives DICOM, through a load balancer of its own."""
    add = {"name": "dicom", "containerPort": DICOM}
    path = "/spec/template/spec/containers/0/ports/-"
    patch = json.dumps([{"op": "add", "path": path, "value": add}])
    web = "statefulset/xnat-xnat-web"
    mesh.run(
        "kubectl", "--namespace", "xnat", "apply", "--filename", "-", stdin=json.dumps(SERVICE)
    )
    mesh.run("kubectl", "--namespace", "xnat", "patch", web, "--type=json", "--patch", patch)
    mesh.run("kubectl", "--namespace", "xnat", "rollout", "status", web, "--timeout=60s")


def steps(context: Context) -> list[Any]:
    return [
        *mutual_tls.steps(context.parameters),
        *authorization.steps(context.parameters),
    ]


def carry_out(context: Context) -> list[Verification]:
    """Apply and verify every step of both chapters."""
    verified = []
    for step in steps(context):
        step.apply(context, step.plan(context))
        verified.append(step.verify(context))
    return verified


@pytest.mark.usefixtures("scanning")
def test_a_port_behind_a_load_balancer_is_never_closed_unseen(make: MakeContext) -> None:
    context = make()
    for step in steps(context):
        with pytest.raises(
            RunbookError, match=r"Service xnat/xnat-dicom \(LoadBalancer\) leads to port 8104"
        ) as caught:
            step.plan(context)
        assert "application.plaintext_ports: [8104]" in caught.value.remedy


@pytest.mark.usefixtures("scanning")
def test_a_port_for_the_cluster_alone_is_mentioned(make: MakeContext, mesh: Lab) -> None:
    def change(kind: str) -> None:
        patch = json.dumps({"spec": {"type": kind}})
        mesh.run("kubectl", "-n", "xnat", "patch", "service", "xnat-dicom", "--patch", patch)

    context = make()
    change("ClusterIP")
    try:
        for step in steps(context):
            plan = step.plan(context)
            assert not plan.empty
            assert plan.note.startswith(
                "Port 8104 of the web pods is reached through Service xnat/xnat-dicom, from the "
                "cluster alone"
            )
    finally:
        change("LoadBalancer")


_SERVER = f"""
import socketserver
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"associated: " + self.request.recv(100))
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
server = Server(("", {DICOM}), Answer)
print("listening", flush=True)
server.serve_forever()
"""


@pytest.fixture
def received(mesh: Lab) -> Iterator[None]:
    """Something answers on the web container's second port."""
    command = [
        *("kubectl", "--namespace", "xnat", "exec", "xnat-xnat-web-0", "--container=xnat-web"),
        *("--", sys.executable, "-c", _SERVER),
    ]
    with subprocess.Popen(command, env=mesh.environment, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        yield
        server.terminate()


def _send(mesh: Lab) -> bytes:
    """Send plaintext through the load balancer, as an imaging device does."""
    found = json.loads(
        mesh.run("kubectl", "-n", "xnat", "get", "service", "xnat-dicom", "-o", "json")
    )
    (ingress,) = found["status"]["loadBalancer"]["ingress"]
    try:
        with socket.create_connection((ingress["ip"], 11112), timeout=5) as connection:
            connection.sendall(b"C-STORE")
            return connection.recv(100)
    except ConnectionError:
        return b""


def _until_received(mesh: Lab, *, open_: bool) -> None:
    def observe() -> State:
        answer = _send(mesh)
        return State(bool(answer) is open_, f"answer: {answer!r}")

    until(f"DICOM to be {'received' if open_ else 'refused'}", observe, timeout=30, successes=3)


@pytest.mark.usefixtures("scanning", "received")
def test_each_policy_closes_the_port_unless_it_names_it(make: MakeContext, mesh: Lab) -> None:
    """What the parameter is there for."""
    without, named = make().parameters, make(**GIVEN).parameters
    apply = make().cluster.apply
    apply(manifest.strict_mutual_tls(without))
    apply(manifest.mutual_tls_exception(without))
    _until_received(mesh, open_=False)
    apply(manifest.mutual_tls_exception(named))
    _until_received(mesh, open_=True)
    apply(manifest.authorization_policy(without, ["GET"]))
    _until_received(mesh, open_=False)
    apply(manifest.authorization_policy(named, ["GET"]))
    _until_received(mesh, open_=True)


@pytest.mark.usefixtures("scanning", "received")
def test_a_port_that_the_parameters_name_stays_open(make: MakeContext, mesh: Lab) -> None:
    assert _send(mesh) == b"associated: C-STORE"
    context = make(**GIVEN)
    exception, _strict, _route, dry_run, final = carry_out(context)
    opened = Row(("xnat-xnat-web-0", "8104", "DISABLE", "accepted"), ok=True)
    assert opened in exception.tables[2].rows
    in_force = ("xnat", "xnat-all", "ALLOW", "GET, HEAD, POST, everything on 8104", "yes")
    assert Row(in_force) in final.tables[1].rows
    for verified in (dry_run, final):
        assert verified.ok
        assert verified.tables[2].rows == (
            Row(("xnat-xnat-web-0", "8080", "GET, HEAD, POST"), ok=True),
            Row(("xnat-xnat-web-0", "8104", "everything"), ok=True),
        )
    assert _send(mesh) == b"associated: C-STORE"
    assert mesh.request("DELETE").status_code == 403
    for step in steps(context):
        assert step.plan(context).empty
    given = context.parameters
    for back in (*policies.authorization_steps(given), *policies.mutual_tls_steps(given)):
        back.apply(context, back.plan(context))
        assert back.verify(context).ok
        assert _send(mesh) == b"associated: C-STORE"


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


@pytest.mark.usefixtures("scanning")
def test_strict_names_the_namespaces_of_others_as_part_of_what_is_approved(
    make: MakeContext, mesh: Lab, shop: str
) -> None:
    context = make(**GIVEN)
    exception, strict = mutual_tls.steps(context.parameters)
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


@pytest.mark.usefixtures("scanning")
def test_authorization_is_verified_only_when_every_replica_has_it(
    make: MakeContext, mesh: Lab, replica: str
) -> None:
    """The second pod's agent takes nothing up while it is stopped; its sidecar is named."""
    context = make(**GIVEN, timeouts={"policy": 5})
    final = authorization.steps(context.parameters)[-1]
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
    verified = final.verify(make(**GIVEN))
    assert [row.cells[0] for row in verified.tables[2].rows] == [
        *["xnat-xnat-web-0"] * 2,
        *[replica] * 2,
    ]
