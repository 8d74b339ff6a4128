"""A mesh that has been through the whole runbook, and short ways to break it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psutil

from runbook_lib.base.wait import State, until
from runbook_lib.cluster.names import PROXY
from runbook_lib.cluster.objects import Object
from runbook_lib.diagnosis.diagnose import diagnose
from runbook_lib.diagnosis.model import Diagnosis
from runbook_lib.lab.foundation.state import marked_processes
from runbook_lib.lifecycle.context import Context
from runbook_lib.mesh import injection
from tests.labs import Lab

WEB = {"app": "xnat-web"}
FRONT = "xnat-xnat-web-headless"
"""The Service to which the Ingress leads."""

OTHER = {"name": "other-team", "namespace": "xnat"}
SECURITY = "security.istio.io/v1"
NETWORKING_API = "networking.istio.io/v1"


class Site:
    """The lab with the whole runbook applied, and short ways to break it."""

    def __init__(self, lab: Lab, context: Context) -> None:
        self.lab = lab
        self.context = context
        self.seconds: list[float] = []
        self.token = ""
        self.diagnoses: dict[str, Diagnosis] = {}

    def kubectl(self, *words: str, namespace: str = "xnat", **more: Any) -> str:
        return self.lab.run("kubectl", "--namespace", namespace, *words, **more)

    def apply(self, item: Object) -> None:
        # As a person would: replacing whatever the runbook's fields were.
        options = ("--server-side", "--force-conflicts", "--field-manager", "other-team")
        self.lab.run("kubectl", "apply", *options, "--filename", "-", stdin=json.dumps(item))

    def recreate(self, item: Object) -> None:
        metadata = item["metadata"]
        where = metadata.get("namespace", "default")
        self.kubectl(
            "delete", item["kind"], metadata["name"], "--ignore-not-found", namespace=where
        )
        self.lab.run("kubectl", "create", "--filename", "-", stdin=json.dumps(item))

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self.kubectl("get", kind, name, "--output", "json"))
        for key in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
            found["metadata"].pop(key, None)
        found.pop("status", None)
        return found

    def until_answer(self, method: str, *statuses: int) -> None:
        """Wait until a fault shows from outside."""
        self.lab.until_answer(method, *statuses, timeout=45, successes=2)

    @contextmanager
    def given(self, **parameters: Any) -> Iterator[None]:
        """Look with other parameters for a while."""
        before = self.context
        folder = before.journal.path.parent
        self.context = self.lab.context(folder, story="safe", **parameters)
        try:
            yield
        finally:
            self.context = before

    def until_event(self, about: str, reason: str) -> None:
        """Wait until Kubernetes says this about an object of the application."""

        def observe() -> State:
            found = self.context.cluster.events("xnat", about)
            return State(any(e.reason == reason for e in found), f"{len(found)} events")

        until(f"{reason} of {about}", observe, timeout=45)

    def until_injected(self, holds: Callable[[Object], bool]) -> None:
        """Wait until a new web pod would be such a one."""
        workload = self.get("statefulset", "xnat-xnat-web")

        def observe() -> State:
            pod = injection.attempt(self.context, workload, sidecar=True)
            return State(holds(pod), "not yet")

        until("new pods to be injected otherwise", observe, timeout=45)

    def until_logged(self, pod: str, said: str) -> None:
        """Wait until a sidecar's log says something."""

        def observe() -> State:
            lines = self.context.cluster.logs("xnat", pod, PROXY, lines=100)
            return State(any(said in line for line in lines), f"{len(lines)} lines")

        until(f"the sidecar of {pod} to say {said}", observe, timeout=45)

    def until_refused(self, said: str) -> None:
        """Wait until the API server says this of a new pod: it takes up admission rules late."""
        pod = ("run", "probe", "--image=lab.invalid/probe:simulated", "--dry-run=server")

        def observe() -> State:
            answer = self.kubectl(*pod, check=False)
            return State(said in answer, answer)

        until(f"a pod to be refused: {said}", observe, timeout=30, successes=2)

    def until_pod(self, name: str, what: str, holds: Callable[[Object], bool]) -> None:
        def observe(found: list[Object]) -> State:
            return State(any(map(holds, found)), f"{len(found)} pods")

        self.context.cluster.watch_until(
            f"pod {name} {what}", "v1", "Pod", "xnat", observe, name=name, timeout=45
        )

    def until_rolled_out(self, workload: str = "statefulset/xnat-xnat-web", **more: Any) -> None:
        self.kubectl("rollout", "status", workload, "--timeout=60s", **more)

    def restart_web(self) -> None:
        self.kubectl("delete", "pod", "xnat-xnat-web-0", "--wait")
        self.until_rolled_out()

    def process(self, name: str) -> psutil.Process:
        """A process of the web pod."""
        return next(
            process
            for process in marked_processes(self.lab.name)
            if "_xnat-xnat-web-0_" in process.cwd() and name in " ".join(process.cmdline())
        )

    def diagnose(self) -> Diagnosis:
        began = time.monotonic()
        try:
            return diagnose(self.context, self.token)
        finally:
            self.seconds.append(time.monotonic() - began)

    def until_healthy(self) -> None:
        """Wait until nothing is found: what was mended takes a moment to arrive everywhere."""

        def observe() -> State:
            found = self.diagnose()
            return State(found.healthy, str(found))

        until("a healthy mesh to be found healthy", observe, timeout=60, interval=0.5)


Fault = Callable[[Site], AbstractContextManager[None]]
