"""A pod is what its spec says: init containers, probes, volumes, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.wait import State, until
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(180)]

Object = dict[str, Any]
IMAGE = "lab.invalid/xnat-stand-in:1"
# Istio's image with other arguments: a program that ends by itself.
TOOL = "lab.invalid/proxyv2:1"


def web(**fields: Any) -> Object:
    return {"name": "web", "image": IMAGE, "ports": [{"containerPort": 8080}], **fields}


def create(lab: Lab, name: str, *containers: Object, **spec: Any) -> None:
    """Create a pod in the default namespace."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 2, **spec},
    }
    lab.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(pod))


def status(lab: Lab, name: str) -> Object:
    found: Object = json.loads(lab.run("kubectl", "get", "pod", name, "--output=json"))["status"]
    return found


def until_ready(lab: Lab, name: str) -> None:
    lab.run("kubectl", "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def test_an_init_container_that_fails_keeps_the_others_from_starting(lab: Lab) -> None:
    init = {"name": "first", "image": TOOL, "args": ["no-such-command"]}
    create(lab, "stuck", web(), initContainers=[init])

    def observe() -> State:
        seen = status(lab, "stuck")["initContainerStatuses"][0]
        return State(seen["restartCount"] > 0, f"{seen}")

    until("the init container to be started again", observe, timeout=30)
    seen = status(lab, "stuck")
    (first,) = seen["initContainerStatuses"]
    assert first["lastState"]["terminated"]["exitCode"] != 0
    assert "PodInitializing" in json.dumps(seen["containerStatuses"][0]["state"])
    assert "Init:" in lab.run("kubectl", "get", "pod", "stuck")

    def logged() -> State:
        # Empty for the moment in which the newest run has begun and not yet spoken.
        seen = lab.run("kubectl", "logs", "stuck", "--container=first")
        return State("unknown command" in seen, repr(seen))

    until("what the init container said", logged, timeout=30)


def test_a_pod_that_is_not_restarted_ends_with_its_containers(lab: Lab) -> None:
    create(
        lab,
        "failing",
        {"name": "only", "image": TOOL, "args": ["no-such-command"]},
        restartPolicy="Never",
    )
    until("its end", lambda: State(status(lab, "failing")["phase"] == "Failed", ""), timeout=30)
    (only,) = status(lab, "failing")["containerStatuses"]
    assert only["state"]["terminated"]["reason"] == "Error"
    assert only["restartCount"] == 0


def test_a_container_that_fails_its_liveness_probe_is_started_again(lab: Lab) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    create(lab, "unwell", web(livenessProbe=probe))

    def observe() -> State:
        (seen,) = status(lab, "unwell")["containerStatuses"]
        return State(seen["restartCount"] > 0, f"{seen}")

    until("a restart", observe, timeout=30)
    assert "failed its liveness probe" in lab.run("kubectl", "logs", "unwell", "--previous")


def test_a_command_decides_whether_a_pod_is_ready(lab: Lab) -> None:
    """It runs in the container, in its own folder."""
    probe = {"exec": {"command": ["test", "-e", "now"]}, "periodSeconds": 1}
    create(lab, "patient", web(readinessProbe=probe))

    def observe() -> State:
        state = status(lab, "patient")["containerStatuses"][0]
        return State("running" in state["state"], f"{state}")

    until("its process", observe, timeout=30)
    assert not status(lab, "patient")["containerStatuses"][0]["ready"]
    lab.run("kubectl", "exec", "patient", "--", "touch", "now")
    until_ready(lab, "patient")


def test_containers_of_a_pod_share_its_network_and_its_volumes(lab: Lab) -> None:
    shared = {"name": "shared", "mountPath": "/shared"}
    second = {
        "name": "second",
        "image": IMAGE,
        "ports": [{"containerPort": 8081}],
        "volumeMounts": [shared],
    }
    volumes = [{"name": "shared", "emptyDir": {}}]
    create(lab, "both", web(volumeMounts=[shared]), second, volumes=volumes)
    until_ready(lab, "both")
    run = ("kubectl", "exec", "both", "--container")
    lab.run(*run, "web", "--", "touch", "shared/note")
    assert lab.run(*run, "second", "--", "ls", "shared").strip() == "note"
    url = "http://localhost:8080/app/template/Login.vm"
    ask = f"import urllib.request; print(urllib.request.urlopen('{url}').status)"
    assert lab.run(*run, "second", "--", sys.executable, "-c", ask).strip() == "200"


def test_a_claim_is_bound_at_once_and_outlives_the_pod(lab: Lab) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "kept"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    lab.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(claim))
    bound = ("kubectl", "wait", "--for=jsonpath={.status.phase}=Bound", "pvc/kept", "--timeout=20s")
    lab.run(*bound)
    where = ("get", "pvc/kept", "--output=jsonpath={.spec.volumeName}")
    volume = lab.run("kubectl", *where)
    volumes = [{"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}]
    for name in ("one", "two"):
        create(
            lab,
            name,
            web(volumeMounts=[{"name": "kept", "mountPath": "/kept"}]),
            volumes=volumes,
        )
        until_ready(lab, name)
        lab.run("kubectl", "exec", name, "--", "touch", f"kept/{name}")
        found = lab.run("kubectl", "exec", name, "--", "ls", "kept").split()
        lab.run("kubectl", "delete", "pod", name)
    assert found == ["one", "two"]
    lab.run("kubectl", "delete", "pvc", "kept")
    lab.run("kubectl", "wait", "--for=delete", f"pv/{volume}", "--timeout=20s")


def test_environment_comes_from_secrets_and_configmaps(lab: Lab) -> None:
    lab.run("kubectl", "create", "secret", "generic", "given", "--from-literal=key=hidden")
    source = {"secretKeyRef": {"name": "given", "key": "key"}}
    create(lab, "told", web(env=[{"name": "GIVEN", "valueFrom": source}]))
    until_ready(lab, "told")
    assert lab.run("kubectl", "exec", "told", "--", "printenv", "GIVEN").strip() == "hidden"


def test_exec_passes_streams_exit_codes_and_a_terminal(lab: Lab) -> None:
    create(lab, "shell", web())
    until_ready(lab, "shell")
    run = ("kubectl", "exec", "shell", "--stdin", "--")
    assert lab.run(*run, "cat", stdin="hello") == "hello"
    done = subprocess.run(
        [*run, "sh", "-c", "echo out; echo err >&2; exit 3"],
        env=lab.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr.splitlines()[0], done.returncode) == ("out\n", "err", 3)
    # A terminal has a size as soon as the client has said so.
    script = 'tty; until test "$(stty size)" != "0 0"; do :; done; stty size'
    terminal = f"kubectl exec --stdin --tty shell -- sh -c '{script}'"
    command = f"stty rows 40 cols 120; {terminal}"
    said = lab.run("script", "--quiet", "--command", command, "/dev/null")
    assert "/dev/pts/" in said
    assert "40 120" in said


def test_logs_are_cut_and_followed(lab: Lab) -> None:
    create(lab, "talking", web())
    until_ready(lab, "talking")
    with subprocess.Popen(
        ["kubectl", "logs", "talking", "--follow", "--tail=0"],
        env=lab.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        ask = "import urllib.request; urllib.request.urlopen('http://localhost:8080/data/once')"

        def observe() -> State:
            # It may not be following yet.
            lab.run("kubectl", "exec", "talking", "--", sys.executable, "-c", ask)
            said = lab.run("kubectl", "logs", "talking", "--tail=1", "--timestamps")
            return State("GET /data/once" in said, said)

        until("the request in the log", observe, timeout=20)
        # The container counts as ready before it has said that it listens.
        assert any("GET /data/once" in line for line in following.stdout)
        following.terminate()


def test_what_is_simulated_says_so(lab: Lab) -> None:
    lab.run("kubectl", "create", "deployment", "other", "--image=example.invalid/other:1")
    lab.run("kubectl", "rollout", "status", "deployment/other", "--timeout=30s")
    said = lab.run("kubectl", "exec", "deployment/other", "--", "true", check=False)
    assert "is simulated" in said


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: wiki\nversion: 0.1.0\n",
    "templates/wiki.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {matchLabels: {app: wiki}}
  template:
    metadata: {labels: {app: wiki}}
    spec:
      containers:
        - {name: wiki, image: registry.example.com/wiki:7, ports: [{containerPort: 3000}]}
""",
}
"""A chart of somebody's own, whose image the lab has never heard of."""


def test_a_chart_with_an_unknown_image_is_installed_simulated_and_labelled(
    lab: Lab, tmp_path: Path
) -> None:
    for name, text in CHART.items():
        path = tmp_path / "wiki" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    helm = ("helm", "--namespace", "wiki")
    lab.run(*helm, "install", "wiki", str(tmp_path / "wiki"), "--create-namespace", "--wait")
    try:
        found = json.loads(lab.run("kubectl", "-n", "wiki", "get", "pods", "--output=json"))
        (pod,) = found["items"]
        assert pod["metadata"]["labels"]["lab.istio-runbook/runtime"] == "simulated"
        assert pod["status"]["containerStatuses"][0]["ready"]
    finally:
        lab.run(*helm, "uninstall", "wiki", "--wait")
        lab.run("kubectl", "delete", "namespace", "wiki", "--wait")
