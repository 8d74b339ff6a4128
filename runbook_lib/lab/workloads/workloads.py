"""The workload runtime: real processes for the pods that have one here.

It does what a kubelet does for such a pod: gives it a sandbox and an address, mounts its volumes,
starts its containers in order, probes them, restarts what exits, reports all of it as the pod's
status, and stops everything when the pod is deleted.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from runbook_lib.lab.foundation.addresses import NODE, NODE_IP, pod_ip
from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.process import Launch
from runbook_lib.lab.network.sandbox import Sandbox, make_sandbox
from runbook_lib.lab.workloads.containers import ContainerRuntime, now
from runbook_lib.lab.workloads.images import RUNTIME_LABEL
from runbook_lib.lab.workloads.launchers import launch
from runbook_lib.lab.workloads.pods import Container, containers, has_process, sources
from runbook_lib.lab.workloads.programs import Surroundings
from runbook_lib.lab.workloads.telemetry import POD_LABEL, count_requests
from runbook_lib.lab.workloads.volumes import Volumes

Object = dict[str, Any]

SIMULATED_LABEL = "lab.istio-runbook/simulated-containers"
# Projected tokens live an hour or more; a kubelet renews them at 80 %.
TOKEN_RENEWAL = 2400.0


class PodRuntime:
    """One pod, from its scheduling to its end.

    Args:
        pod: As the API server holds it.
        sandbox: Its namespaces.
        api: The API server.
        folder: Holds a root folder for each container, and the logs.
        volumes: Brings the pod's volumes.
        mark: The lab's.
    """

    def __init__(
        self, pod: Object, sandbox: Sandbox, api: Api, folder: Path, volumes: Volumes, mark: str
    ) -> None:
        self.pod = pod
        self.sandbox = sandbox
        self._api, self._folder, self._mark = api, folder, mark
        self._volumes = volumes
        self._dirty = asyncio.Event()
        self._started_at = now()
        self._transitions: dict[str, tuple[str, str]] = {}
        self._initialized = False
        self._ran = False
        self.containers: list[ContainerRuntime] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def path(self) -> str:
        """The pod's path on the API server."""
        meta = self.pod["metadata"]
        return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"

    def start(self, around: Surroundings) -> None:
        """Begin; returns at once."""
        for container in containers(self.pod):
            self.containers.append(self._runtime(container, around))
        self._tasks = [
            asyncio.create_task(self._report()),
            asyncio.create_task(self._start_in_order()),
            asyncio.create_task(self._renew_tokens()),
        ]
        self._dirty.set()

    def container(self, name: str) -> ContainerRuntime | None:
        """The container of that name."""
        return next((each for each in self.containers if each.container.name == name), None)

    def _runtime(self, container: Container, around: Surroundings) -> ContainerRuntime:
        root = self._folder / container.name
        root.mkdir(parents=True, exist_ok=True)

        async def prepare() -> Launch:
            await self._volumes.mount(self.pod, container, root)
            if container.proxies:
                await count_requests(self._api, self.pod)
            given = await self._volumes.given(self.pod, sources(container))
            return await launch(container, self.pod, given, root, around)

        meta = self.pod["metadata"]
        return ContainerRuntime(
            container,
            prepare if container.program else None,
            sandbox=self.sandbox,
            log=self._folder / f"{container.name}.log",
            folder=root,
            mark=self._mark,
            label=f"{meta['namespace']}/{meta['name']}/{container.name}",
            restart=self.pod["spec"].get("restartPolicy", "Always"),
            changed=self._dirty.set,
        )

    async def _start_in_order(self) -> None:
        await self._label()
        for runtime in self.containers:
            runtime.start()
            if runtime.container.ends:
                await runtime.ended.wait()
                if runtime.exit_code:  # under restartPolicy Never: the pod has failed
                    return
            elif runtime.container.sidecar:
                await runtime.started.wait()
        applications = [each for each in self.containers if not each.container.init]
        await asyncio.gather(*(each.ended.wait() for each in applications))
        await asyncio.gather(*(each.stop(2) for each in self.containers if each.container.sidecar))

    async def _label(self) -> None:
        """Say on the pod which of its containers are simulated."""
        simulated = [each.container.name for each in self.containers if not each.container.program]
        labels = {
            RUNTIME_LABEL: "process",
            POD_LABEL: self.pod["metadata"]["name"],
            SIMULATED_LABEL: ".".join(simulated) or None,
        }
        while True:
            try:
                changed = await self._api.merge(self.path, {"metadata": {"labels": labels}})
            except (httpx.HTTPError, LabError):
                await asyncio.sleep(0.5)  # the API server is restarting; there is no event for it
            else:
                self.pod = changed or self.pod
                return

    async def _renew_tokens(self) -> None:
        while True:
            await asyncio.sleep(TOKEN_RENEWAL)
            for runtime in self.containers:
                if runtime.container.program:
                    with suppress(LabError, httpx.HTTPError):
                        root = self._folder / runtime.container.name
                        await self._volumes.mount(self.pod, runtime.container, root)

    async def _report(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._api.merge(f"{self.path}/status", {"status": self._status()})
            except (httpx.HTTPError, LabError):
                await asyncio.sleep(0.5)  # the API server is restarting; there is no event for it
                self._dirty.set()

    def _status(self) -> Object:
        # Once initialized a pod stays so, also while a sidecar starts again.
        self._initialized = initialized = self._initialized or all(
            each.started.is_set() if each.container.sidecar else each.ready
            for each in self.containers
            if each.container.init
        )
        phase = self._phase(initialized)
        unready = [
            each.container.name
            for each in self.containers
            if not each.ready and not each.container.ends
        ]
        ready = initialized and not unready
        return {
            "phase": phase,
            "startTime": self._started_at,
            "hostIP": NODE_IP,
            "hostIPs": [{"ip": NODE_IP}],
            "podIP": self.sandbox.address,
            "podIPs": [{"ip": self.sandbox.address}],
            "conditions": [
                self._condition("PodScheduled", True),
                self._condition("PodReadyToStartContainers", True),
                self._condition("Initialized", initialized),
                self._condition("ContainersReady", ready, unready),
                self._condition("Ready", ready, unready),
            ],
            "containerStatuses": [
                each.status() for each in self.containers if not each.container.init
            ],
            "initContainerStatuses": [
                each.status() for each in self.containers if each.container.init
            ],
        }

    def _phase(self, initialized: bool) -> str:
        running = initialized and any(
            "running" in each.status()["state"] for each in self.containers
        )
        self._ran = self._ran or running
        if any(each.exit_code for each in self.containers if each.container.ends):
            return "Failed"
        codes = [each.exit_code for each in self.containers if not each.container.init]
        if None not in codes:
            return "Failed" if any(codes) else "Succeeded"
        return "Running" if self._ran else "Pending"

    def _condition(self, kind: str, holds: bool, unready: list[str] | None = None) -> Object:
        status = str(holds)
        before, since = self._transitions.get(kind, ("", ""))
        if before != status:
            since = now()
            self._transitions[kind] = (status, since)
        result: Object = {"type": kind, "status": status, "lastTransitionTime": since}
        if unready:
            result["reason"] = "ContainersNotReady"
            result["message"] = f"containers with unready status: [{' '.join(unready)}]"
        return result

    async def stop(self, grace: float) -> None:
        """Stop the application first, sidecars last, as a kubelet does."""
        for task in self._tasks:
            task.cancel()
        applications = [each for each in self.containers if not each.container.sidecar]
        sidecars = [each for each in self.containers if each.container.sidecar]
        await asyncio.gather(*(each.stop(grace) for each in applications))
        await asyncio.gather(*(each.stop(grace) for each in sidecars))
        self.sandbox.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def remove(self) -> None:
        """Stop, then take the object away, as the last act of a kubelet."""
        grace = float(self.pod["metadata"].get("deletionGracePeriodSeconds", 30))
        applications = [each for each in self.containers if not each.container.init]
        await asyncio.gather(*(each.before_stop(grace) for each in applications))
        await self.stop(grace)
        with suppress(LabError, httpx.HTTPError):
            await self._api.delete(self.path, uid=self.pod["metadata"]["uid"])


class Workloads:
    """All pods of the lab that have a process.

    Args:
        api: The API server.
        around: The lab.
        folder: Where each pod gets a folder of its own.
        claims: Holds a folder for each bound claim.
        mark: The lab's.
    """

    def __init__(
        self, api: Api, around: Surroundings, folder: Path, claims: Path, mark: str
    ) -> None:
        self._api, self._around, self._mark = api, around, mark
        self._folder, self._claims = folder, claims
        self._pods: dict[str, PodRuntime] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()

    async def run(self) -> None:
        """Follow the pods of the lab's node for ever."""
        async for event, item in self._api.watch(
            "/api/v1/pods", fieldSelector=f"spec.nodeName={NODE}"
        ):
            if event == "SYNC":
                living = {pod["metadata"]["uid"] for pod in item["items"]}
                for uid in set(self._pods) - living:
                    self._end(uid, PodRuntime.stop, 0)
                for pod in item["items"]:
                    self._observe(pod)
            elif event == "DELETED":
                self._end(item["metadata"]["uid"], PodRuntime.stop, 0)
            else:
                self._observe(item)

    def _observe(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if not has_process(pod):
            return
        if "deletionTimestamp" in pod["metadata"]:
            if uid in self._pods:
                self._pods[uid].pod = pod
                self._end(uid, PodRuntime.remove)
            return
        if uid in self._pods or pod["status"].get("phase") in ("Succeeded", "Failed"):
            return
        self._pods[uid] = runtime = self._runtime(pod)
        runtime.start(self._around)

    def _runtime(self, pod: Object) -> PodRuntime:
        meta = pod["metadata"]
        folder = self._folder / f"{meta['namespace']}_{meta['name']}_{meta['uid']}"
        number = self._free_number()
        host_network = bool(pod["spec"].get("hostNetwork"))
        sandbox = make_sandbox(
            folder / "etc",
            name=meta["name"],
            namespace=meta["namespace"],
            address=NODE_IP if host_network else pod_ip(number),
            number=number,
            host_network=host_network,
        )
        volumes = Volumes(self._api, folder / "volumes", self._claims)
        return PodRuntime(pod, sandbox, self._api, folder, volumes, self._mark)

    def _free_number(self) -> int:
        taken = {runtime.sandbox.address for runtime in self._pods.values()}
        return next(each for each in self._numbers if pod_ip(each) not in taken)

    def _end(self, uid: str, how: Callable[..., Any], *arguments: float) -> None:
        runtime = self._pods.pop(uid, None)
        if runtime:
            task = asyncio.create_task(how(runtime, *arguments))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    def pod(self, namespace: str, name: str) -> PodRuntime | None:
        """The pod of that name, if it has a process."""
        for runtime in self._pods.values():
            meta = runtime.pod["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, name):
                return runtime
        return None

    def processes(self) -> dict[str, int]:
        """Label to process id of all that runs."""
        return {
            process.name: process.pid
            for runtime in self._pods.values()
            for each in runtime.containers
            if (process := each.process) and process.pid
        }

    async def stop(self) -> None:
        """Stop every process; the objects stay as they are."""
        await asyncio.gather(*(each.stop(2) for each in self._pods.values()), *self._stopping)
