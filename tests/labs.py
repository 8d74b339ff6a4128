"""A running lab, as the tests use it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from runbook_lib import chapters as steps
from runbook_lib.base import wait
from runbook_lib.base.journal import Journal
from runbook_lib.base.locations import lab_directory
from runbook_lib.cluster.client import Cluster
from runbook_lib.lab.foundation.state import State
from runbook_lib.lab.supervision import lifecycle
from runbook_lib.lifecycle import target
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.lifecycle.step import Step, Verification
from tests.unit.samples import from_mapping

LOGIN_PAGE = "/app/template/Login.vm"
KNOWN_PORTS = (53, 2379, 2380, 4443, 6443, 8080, 10250, 10257, 10259, *range(15000, 15022), 15090)
"""What the lab's programs listen on."""


@dataclass(frozen=True)
class Lab:
    """A running lab and short ways to use it."""

    state: State

    @property
    def name(self) -> str:
        """Its name, as in RUNBOOK_LAB."""
        return self.state.name

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which kubectl, helm, istioctl and the runbook use this lab."""
        return {
            **os.environ,
            "KUBECONFIG": self.state.kubeconfig,
            "PATH": f"{self.state.bin}{os.pathsep}{os.environ['PATH']}",
            "RUNBOOK_LAB": self.name,
        }

    def run(self, *argv: str, check: bool = True, stdin: str | None = None) -> str:
        """Run a command against the lab; returns both streams as text."""
        done = subprocess.run(
            argv,
            env=self.environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{argv} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def context(self, folder: Path, **given: Any) -> Context:
        """What steps work with on this lab, with some parameters given.

        Args:
            folder: Where the evidence goes.
            given: Sections of the parameters.
        """
        checked = from_mapping({**given, "target": {"lab": self.name}})
        pinned = target.resolve(checked)
        journal = Journal(folder / "evidence.jsonl", run="r", step="s")
        return Context(checked, pinned, Cluster.of(pinned), journal)

    def viewer(self) -> Path:
        """A kubeconfig whose context `viewer` is somebody who may look, but at no Secret."""
        kubectl = ("kubectl", "--namespace", "default")
        role = ("--clusterrole=view", "--serviceaccount=default:viewer")
        if "viewer" not in self.run(*kubectl, "get", "serviceaccounts"):
            self.run(*kubectl, "create", "serviceaccount", "viewer")
            self.run(*kubectl, "create", "clusterrolebinding", "viewer", *role)
        config = yaml.safe_load(Path(self.state.kubeconfig).read_text())
        cluster = config["contexts"][0]["context"]["cluster"]
        config["contexts"] = [{"name": "viewer", "context": {"cluster": cluster, "user": "viewer"}}]
        token = self.run(*kubectl, "create", "token", "viewer").strip()
        config["users"] = [{"name": "viewer", "user": {"token": token}}]
        config["current-context"] = "viewer"
        path = lab_directory(self.name) / "viewer"
        path.touch(0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    def request(self, method: str) -> httpx.Response:
        """One request for the login page from outside, on a connection of its own."""
        return httpx.request(method, f"{self.state.url}{LOGIN_PAGE}", timeout=10, trust_env=False)

    def install_mesh(self) -> None:
        """Install Istio and inject the application, as plain commands."""
        charts = self.state.charts
        helm = ["helm", "upgrade", "--install", "--namespace", "istio-system", "--wait"]
        self.run(*helm, "--create-namespace", "istio-base", charts["base"])
        self.run(
            *helm,
            "istiod",
            charts["istiod"],
            *("--set", "telemetry.enabled=false"),
            *("--set-string", "pilot.env.PILOT_ENABLE_ALPN_FILTER=false"),
            *("--set-string", "pilot.env.PILOT_ENABLE_METADATA_EXCHANGE=false"),
        )
        self.run("kubectl", "label", "namespace", "xnat", "istio-injection=enabled", "--overwrite")
        for name in ("xnat-postgresql", "xnat-xnat-web"):
            self.run("kubectl", "-n", "xnat", "rollout", "restart", f"statefulset/{name}")
            self.run(
                *("kubectl", "-n", "xnat", "rollout", "status", f"statefulset/{name}"),
                "--timeout=60s",
            )
        # The load balancer learns of a new pod a moment after its rollout has ended.
        self.until_answer("GET", 200, timeout=30)
        self.until_webhook_fails_closed()

    def set_webhook_port(self, port: int) -> None:
        """Have the API server ask for sidecars at this port of istiod's Service: 443 is right."""
        webhooks = "mutatingwebhookconfiguration/istio-sidecar-injector"
        found = json.loads(self.run("kubectl", "get", webhooks, "--output=json"))
        path = "/webhooks/{}/clientConfig/service/port"
        operations = [
            {"op": "replace", "path": path.format(number), "value": port}
            for number in range(len(found["webhooks"]))
        ]
        patch = f"--patch={json.dumps(operations)}"
        self.run("kubectl", "patch", webhooks, "--type=json", patch)

    def receiver(self) -> tuple[str, int]:
        """Where imaging devices outside of the cluster call: the node's address, and a port."""
        port = self.run(
            *("kubectl", "-n", "xnat", "get", "service", "xnat-xnat-web-dicom-scp"),
            "--output=jsonpath={.spec.ports[0].nodePort}",
        )
        address = self.run(
            *("kubectl", "get", "node"),
            '--output=jsonpath={.items[0].status.addresses[?(@.type=="ExternalIP")].address}',
        )
        return address, int(port)

    def until_answer(self, method: str, *statuses: int, timeout: float, successes: int = 1) -> None:
        """Wait until requests from outside are answered with one of these statuses.

        Args:
            method: Such as `GET`.
            statuses: Those to wait for.
            timeout: Seconds in all.
            successes: How many answers in a row.
        """

        def observe() -> wait.State:
            seen = self.request(method).status_code
            return wait.State(seen in statuses, f"{method} answers {seen}")

        what = f"{method} to answer {' or '.join(map(str, statuses))}"
        wait.until(what, observe, timeout=timeout, successes=successes)

    def until_webhook_fails_closed(self) -> None:
        """Wait until istiod has told its own webhook to fail closed, against what the chart says.

        It does once that answers, a little after istiod is ready.
        """
        self.run(
            *("kubectl", "wait", "--for=jsonpath={.webhooks[0].failurePolicy}=Fail"),
            *("validatingwebhookconfiguration", "istio-validator-istio-system", "--timeout=30s"),
        )


def named(context: Context, name: str) -> Step:
    """A step of the runbook by its name."""
    every = (s for notebook in steps.CHAPTERS for s in steps.of(notebook, context.parameters))
    return next(step for step in every if step.name == name)


def take(context: Context, name: str) -> tuple[Plan, Verification]:
    """Plan, apply and verify a step."""
    step = named(context, name)
    plan = step.plan(context)
    if not plan.empty:
        step.apply(context, plan)
    return plan, step.verify(context)


def start_lab(
    name: str,
    application: Path | None = None,
    *,
    keep_connections: bool = False,
    audit: bool = False,
) -> Lab:
    """Bring a lab up, with XNAT or another application; its progress goes to the output.

    Args:
        name: The lab's name.
        application: A manifest in place of XNAT's.
        keep_connections: Whether its load balancer uses connections again.
        audit: Whether its API server writes an audit log.
    """
    return Lab(
        lifecycle.up(
            name,
            building=lambda phase, done, total: print(phase, done, total, file=sys.stderr),
            doing=lambda phase: print(phase, file=sys.stderr),
            application=application,
            keep_connections=keep_connections,
            audit=audit,
        )
    )


def stop_lab(name: str) -> None:
    """Take a lab down and remove its folder; the logs of a test's lab are of no more use."""
    lifecycle.down(name)
    folder = lab_directory(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{name}.lock").unlink(missing_ok=True)


def hold_known_ports(stack: ExitStack) -> None:
    """Listen on `KNOWN_PORTS` on all of the host's interfaces, where nobody else does already."""
    for port in KNOWN_PORTS:
        listener = stack.enter_context(socket.socket())
        with suppress(OSError):
            listener.bind(("0.0.0.0", port))
            listener.listen()
