"""Pods are what they say: 3/3 is true, and stops being so when a process dies."""

from __future__ import annotations

import json
import os
import signal

import psutil
import pytest

from runbook_lib.base.wait import State, until
from runbook_lib.lab.foundation.state import marked_processes
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

WEB = "xnat-xnat-web-0"


def _pod(lab: Lab, name: str, namespace: str = "xnat") -> dict:  # type: ignore[type-arg]
    answer = lab.run("kubectl", "-n", namespace, "get", "pod", name, "-o", "json", check=False)
    return json.loads(answer) if answer.startswith("{") else {}


def _ready_column(lab: Lab) -> str:
    row = lab.run("kubectl", "-n", "xnat", "get", "pod", WEB, "--no-headers")
    return row.split()[1]


def _until_ready(lab: Lab, column: str) -> None:
    def observe() -> State:
        seen = _ready_column(lab)
        return State(seen == column, f"READY is {seen}")

    until(f"READY {column}", observe, timeout=30, interval=0.05)


def _process_of(lab: Lab, pod: str, name: str) -> psutil.Process:
    """The process that runs in the folder of the pod."""
    for process in marked_processes(lab.name):
        if process.name() == name and f"_{pod}_" in process.cwd():
            return process
    raise AssertionError(f"no {name} runs for {pod}")


def test_injected_pods_are_3_of_3_with_a_native_sidecar(mesh: Lab) -> None:
    """istio-proxy is an init container that restarts always; READY counts it."""
    pod = _pod(mesh, WEB)
    sidecars = [c["name"] for c in pod["spec"]["initContainers"] if c.get("restartPolicy")]
    assert sidecars == ["istio-proxy"]
    assert _ready_column(mesh) == "3/3"
    assert pod["metadata"]["labels"]["lab.istio-runbook/runtime"] == "process"


def test_istio_init_writes_its_rules_and_ends(mesh: Lab) -> None:
    """They send what comes in to 15006 and what goes out to 15001, except Envoy's own."""
    first = _pod(mesh, WEB)["status"]["initContainerStatuses"][0]
    assert (first["name"], first["state"]["terminated"]["exitCode"]) == ("istio-init", 0)
    assert "add rule inet istio-proxy-nat" in mesh.run(
        "kubectl", "-n", "xnat", "logs", WEB, "-c", "istio-init"
    )
    rules = mesh.run(
        *("kubectl", "-n", "xnat", "exec", WEB, "-c", "istio-proxy", "--"),
        *("nft", "list", "table", "inet", "istio-proxy-nat"),
    )
    assert "redirect to :15006" in rules
    assert "redirect to :15001" in rules
    assert "meta mark 0x00000539" in rules
    assert "skuid" not in rules


def test_a_classic_sidecar_is_a_container_like_others(mesh: Lab) -> None:
    """The annotation asks for it; the pod is 3/3 and serves, inside the mesh and from outside."""
    web = ("kubectl", "-n", "xnat", "patch", "statefulset", "xnat-xnat-web", "--type=merge", "-p")
    rolled_out = (
        *("kubectl", "-n", "xnat", "rollout", "status", "statefulset/xnat-xnat-web"),
        "--timeout=60s",
    )

    def native(value: str | None) -> None:
        notes = {"metadata": {"annotations": {"sidecar.istio.io/nativeSidecar": value}}}
        mesh.run(*web, json.dumps({"spec": {"template": notes}}))
        mesh.run(*rolled_out)

    native("false")
    try:
        pod = _pod(mesh, WEB)
        assert {c["name"] for c in pod["spec"]["containers"]} == {
            "xnat",
            "plugin-logs",
            "istio-proxy",
        }
        assert [c["name"] for c in pod["spec"]["initContainers"]] == [
            *("config", "home", "istio-init")
        ]
        assert _ready_column(mesh) == "3/3"
        mesh.until_answer("GET", 200, timeout=30)
    finally:
        native(None)
    mesh.until_answer("GET", 200, timeout=30)


def test_killing_envoy_makes_the_pod_2_of_3_and_back(mesh: Lab) -> None:
    """The restart is counted and the site answers again."""
    restarts = _pod(mesh, WEB)["status"]["initContainerStatuses"][1]["restartCount"]
    os.kill(_process_of(mesh, WEB, "envoy").pid, signal.SIGKILL)
    _until_ready(mesh, "2/3")
    _until_ready(mesh, "3/3")
    status = _pod(mesh, WEB)["status"]["initContainerStatuses"][1]
    assert status["restartCount"] == restarts + 1
    assert "Envoy exited" in mesh.run(
        "kubectl", "-n", "xnat", "logs", WEB, "-c", "istio-proxy", "--previous"
    )
    mesh.until_answer("GET", 200, timeout=20)


def test_a_stopped_application_is_not_ready(mesh: Lab) -> None:
    """The process lives but does not answer its probe: the pod is 2/3 until it does."""
    application = next(
        process
        for process in marked_processes(mesh.name)
        if any("standins.xnat" in part for part in process.cmdline())
    )
    application.suspend()
    try:
        _until_ready(mesh, "2/3")
    finally:
        application.resume()
    _until_ready(mesh, "3/3")


def test_other_pods_are_simulated_and_say_so(mesh: Lab) -> None:
    """A pod whose image has no process here gets a label, and no lines in a log."""
    mesh.run("kubectl", "create", "deployment", "other", "--image=example.invalid/other:1")
    mesh.run("kubectl", "rollout", "status", "deployment/other", "--timeout=30s")
    label = "-l=lab.istio-runbook/runtime=simulated"
    assert "other-" in mesh.run("kubectl", "get", "pods", label)
    mesh.run("kubectl", "delete", "deployment", "other", "--wait")


def test_a_crashing_component_is_started_again(mesh: Lab) -> None:
    """Every process is supervised: the scheduler comes back by itself."""
    scheduler = next(p for p in marked_processes(mesh.name) if p.name() == "kube-scheduler")
    scheduler.kill()

    def observe() -> State:
        found = [p.pid for p in marked_processes(mesh.name) if p.name() == "kube-scheduler"]
        return State(bool(set(found) - {scheduler.pid}), f"schedulers: {found}")

    until("another scheduler", observe, timeout=20)


def test_a_deleted_pod_takes_its_processes_with_it(mesh: Lab) -> None:
    """The StatefulSet's next pod has processes of its own."""
    before = _process_of(mesh, WEB, "pilot-agent").pid
    uid = _pod(mesh, WEB)["metadata"]["uid"]
    mesh.run("kubectl", "-n", "xnat", "delete", "pod", WEB, "--wait")

    def observe() -> State:
        pod = _pod(mesh, WEB)
        other = pod.get("metadata", {}).get("uid") not in (None, uid)
        return State(other and _ready_column(mesh) == "3/3", "the next pod is not ready")

    until("the next pod", observe, timeout=30)
    assert not psutil.pid_exists(before)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("istioctl proxy-status", "xnat-xnat-web-0.xnat"),
        ("istioctl x describe pod xnat-xnat-web-0.xnat", "Pod Ports: 8080"),
        ("istioctl proxy-config listeners xnat-xnat-web-0.xnat", "inbound|8080"),
        ("istioctl x authz check xnat-xnat-web-0.xnat", "ACTION"),
        ("istioctl x check-inject -n xnat xnat-xnat-web-0", "istio-sidecar-injector"),
        ("kubectl logs pod/xnat-xnat-web-0 -c istio-proxy -n xnat", "Envoy proxy is ready"),
        ("kubectl logs pod/xnat-xnat-web-0 -c xnat -n xnat", "GET /app/template/Login.vm"),
        ("kubectl get peerauthentication --all-namespaces", "No resources found"),
        ("kubectl get destinationrule --all-namespaces", "No resources found"),
        ("helm list -n istio-system", "istiod-1.31.0"),
        ("helm list -n istio-system", "istio-base"),
        ("kubectl get hpa -n xnat", "xnat-xnat-web"),
    ],
)
def test_the_commands_of_the_procedure_answer(mesh: Lab, command: str, expected: str) -> None:
    """Each troubleshooting command works against the lab as against any cluster."""
    assert expected in mesh.run(*command.split())


def test_without_a_target_the_edge_answers_503(mesh: Lab) -> None:
    """Like a load balancer whose target group is empty; 502 is for targets that reset."""
    mesh.run("kubectl", "-n", "xnat", "scale", "statefulset/xnat-xnat-web", "--replicas=0")
    mesh.until_answer("GET", 503, timeout=30)
    mesh.run("kubectl", "-n", "xnat", "scale", "statefulset/xnat-xnat-web", "--replicas=1")
    mesh.until_answer("GET", 200, timeout=30)
