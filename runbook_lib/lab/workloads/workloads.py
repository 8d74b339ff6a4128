"""The workload runtime: real processes for the pods that have one here.

It does what a kubelet does for such a pod: gives it an address, mounts its volumes, starts its
containers in order, probes them, restarts what exits, reports all of it as the pod's status, and
stops everything when the pod is deleted.
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

from runbook_lib.lab.control_plane.kubelet import NODE, RUNTIME_LABEL
from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.ports import LOOPBACK
from runbook_lib.lab.network.plumbing import POD_LABEL, bind_sidecar, serve_logs, serve_ports
from runbook_lib.lab.network.tunnel import Endpoint
from runbook_lib.lab.workloads.containers import ContainerRuntime, now
from runbook_lib.lab.workloads.images import PILOT, PROXY
from runbook_lib.lab.workloads.launchers import launch
from runbook_lib.lab.workloads.pods import Container, containers, has_process
from runbook_lib.lab.workloads.programs import Launch, PodNetwork, Surroundings
from runbook_lib.lab.workloads.volumes import mount

Object = dict[str, Any]

SIMULATED_LABEL = "lab.istio-runbook/simulated-containers"
# Projected tokens live an hour or more; a kubelet renews them at 80 %.
TOKEN_RENEWAL = 2400.0


class PodRuntime:
    """One pod, from its scheduling to its end."""

    def __init__(self, pod: Object, network: PodNetwork, api: Api, folder: Path, mark: str) -> None:
        self.pod = pod
        self.network = network
        self._api, self._folder, self._mark = api, folder, mark
        self._dirty = asyncio.Event()
        self._started_at = now()
        self._transitions: dict[str, tuple[str, str]] = {}
        self._initialized = self._ran = False
        self.containers: list[ContainerRuntime] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def path(self) -> str:
        """The pod's path on the API server."""
        meta = self.pod["metadata"]
        return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"

    @property
    def ready(self) -> bool:
        """Whether every container that should run is ready."""
        return bool(self.containers) and all(each.ready for each in self.containers)

    @property
    def runs_istiod(self) -> bool:
        """Whether this pod is a control plane."""
        return any(each.container.program == PILOT for each in self.containers)

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

    def _runtime(self, container: Container, around: Surroundings) -> ContainerRuntime:
        root = self._folder / container.name
        root.mkdir(parents=True, exist_ok=True)

        async def prepare() -> Launch:
            await mount(self._api, self.pod, container, root)
            if container.program == PROXY:
                await bind_sidecar(self._api, self.pod, self.network)
            return await launch(container, self.pod, self.network, root, around)

        meta = self.pod["metadata"]
        return ContainerRuntime(
            container,
            prepare if container.program else None,
            local=self.network.local,
            log=self._log(container),
            folder=root,
            mark=self._mark,
            label=f"{meta['namespace']}/{meta['name']}/{container.name}",
            changed=self._dirty.set,
        )

    def _log(self, container: Container) -> Path:
        return self._folder / f"{container.name}.log"

    async def _start_in_order(self) -> None:
        await self._prepare_pod()
        for runtime in self.containers:
            if runtime.container.init and not runtime.container.sidecar:
                runtime.complete()
                continue
            runtime.start()
            if runtime.container.sidecar:
                await runtime.started.wait()

    async def _prepare_pod(self) -> None:
        """Label the pod and make its logs and ports reachable, retrying while the API is away."""
        simulated = [each.container.name for each in self.containers if not each.container.program]
        labels = {
            RUNTIME_LABEL: "process",
            POD_LABEL: self.pod["metadata"]["name"],
            SIMULATED_LABEL: ".".join(simulated) or None,
        }
        while True:
            try:
                changed = await self._api.merge(self.path, {"metadata": {"labels": labels}})
                if changed:
                    self.pod = changed
                await serve_ports(self._api, self.pod, self.network)
                logs = {each.container.name: self._log(each.container) for each in self.containers}
                await serve_logs(self._api, self.pod, {k: str(v) for k, v in logs.items()})
            except (httpx.HTTPError, LabError):
                await asyncio.sleep(0.5)  # the API server is restarting; there is no event for it
            else:
                return

    async def _renew_tokens(self) -> None:
        while True:
            await asyncio.sleep(TOKEN_RENEWAL)
            for runtime in self.containers:
                if runtime.container.program:
                    with suppress(LabError, httpx.HTTPError):
                        root = self._folder / runtime.container.name
                        await mount(self._api, self.pod, runtime.container, root)

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
        unready = [each.container.name for each in self.containers if not each.ready]
        ip = self.network.pod_ip
        running = initialized and any(
            "running" in each.status()["state"] for each in self.containers
        )
        self._ran = self._ran or running
        return {
            "phase": "Running" if self._ran else "Pending",
            "startTime": self._started_at,
            "hostIP": LOOPBACK,
            "hostIPs": [{"ip": LOOPBACK}],
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [
                self._condition("PodScheduled", True),
                self._condition("PodReadyToStartContainers", True),
                self._condition("Initialized", initialized),
                self._condition("ContainersReady", self.ready, unready),
                self._condition("Ready", self.ready, unready),
            ],
            "containerStatuses": [
                each.status() for each in self.containers if not each.container.init
            ],
            "initContainerStatuses": [
                each.status() for each in self.containers if each.container.init
            ],
        }

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
        shutil.rmtree(self._folder, ignore_errors=True)

    async def remove(self) -> None:
        """Stop, then take the object away, as the last act of a kubelet."""
        await self.stop(float(self.pod["metadata"].get("deletionGracePeriodSeconds", 30)))
        with suppress(LabError, httpx.HTTPError):
            await self._api.delete(self.path, uid=self.pod["metadata"]["uid"])


class Workloads:
    """All pods of the lab that have a process.

    Args:
        folder: Where each pod gets a folder of its own.
    """

    def __init__(self, api: Api, around: Surroundings, folder: Path, mark: str) -> None:
        self._api, self._around, self._folder, self._mark = api, around, folder, mark
        self._pods: dict[str, PodRuntime] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(2)

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
        number = next(self._numbers)
        network = PodNetwork.plan(
            pod, f"10.244.{1 + number // 250}.{1 + number % 250}", self._around.addresses
        )
        name = f"{pod['metadata']['namespace']}_{pod['metadata']['name']}_{uid}"
        runtime = PodRuntime(pod, network, self._api, self._folder / name, self._mark)
        self._pods[uid] = runtime
        runtime.start(self._around)

    def _end(self, uid: str, how: Callable[..., Any], *arguments: float) -> None:
        runtime = self._pods.pop(uid, None)
        if runtime:
            task = asyncio.create_task(how(runtime, *arguments))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    def exposed(self, pod_ip: str, port: int) -> Endpoint | None:
        """Where the network reaches a port of a pod; None if no process is there."""
        for runtime in self._pods.values():
            if runtime.network.pod_ip == pod_ip:
                return runtime.network.exposed.get(port)
        return None

    def istiod(self) -> Endpoint | None:
        """The secured xDS port of a ready istiod."""
        for runtime in self._pods.values():
            if runtime.runs_istiod and runtime.ready:
                return runtime.network.exposed.get(15012)
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
