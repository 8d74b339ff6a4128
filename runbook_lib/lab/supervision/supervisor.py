"""The process that owns a lab: starts everything, keeps it running, stops it.

`python -m runbook_lib.lab.supervision.supervisor NAME REPORT_FD` is started by lifecycle.py. It
reports what it is doing as JSON lines on the given file descriptor until the lab is ready or has
failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.locations import lab_directory
from runbook_lib.lab.build.binaries import Build, find_build, istio_version, kubernetes_version
from runbook_lib.lab.control_plane.kubelet import node, write_config
from runbook_lib.lab.control_plane.processes import ControlPlane
from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.ports import LOOPBACK, choose_addresses, choose_port, free_port
from runbook_lib.lab.foundation.process import Check, Process
from runbook_lib.lab.foundation.state import State, addresses_in_use, write_state
from runbook_lib.lab.metrics import server as metrics
from runbook_lib.lab.metrics.usage import Meter
from runbook_lib.lab.network.edge import Edge
from runbook_lib.lab.network.services import Services
from runbook_lib.lab.network.tunnel import Endpoint, Proxy, Relay
from runbook_lib.lab.workloads.programs import Surroundings
from runbook_lib.lab.workloads.workloads import Workloads

Object = dict[str, Any]

START_TIMEOUT = 60.0
RESTART_DELAY = 1.0
ADDONS = ("prometheus", "jaeger")
"""Istio's sample add-ons that have a process in the lab."""
APPLICATION = Path(__file__).parents[1] / "standins" / "application.yaml"
CHART = Path(__file__).parents[1] / "standins" / "charts" / "kiali-operator"
COLLECTIONS = {
    "Namespace": "/api/v1/namespaces",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "StatefulSet": "/apis/apps/v1/namespaces/{namespace}/statefulsets",
    "HorizontalPodAutoscaler": (
        "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    ),
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}


class Supervisor:
    """One lab."""

    def __init__(self, name: str, build: Build, report: int) -> None:
        self._name = name
        self._build = build
        self._report_fd = report
        self._folder = lab_directory(name)
        self._mark = str(self._folder)
        self._components: dict[str, Process] = {}
        self._keepers: list[asyncio.Task[None]] = []

    def report(self, **message: str) -> None:
        """Tell the command that waits for the lab; it may have gone."""
        try:
            os.write(self._report_fd, (json.dumps(message) + "\n").encode())
        except OSError:
            return

    async def run(self) -> None:
        """Bring the lab up, keep it until SIGTERM, take it down."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with AsyncExitStack() as stack:
            bringing_up = asyncio.create_task(self._bring_up(stack))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({bringing_up, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not bringing_up.done():
                bringing_up.cancel()
                await asyncio.wait({bringing_up})
                self.report(error="the lab was stopped while it was starting")
                return
            state = bringing_up.result()
            write_state(self._name, state)
            self.report(ready=state.url)
            os.close(self._report_fd)
            await stopping
            write_state(self._name, state.stopping())

    async def _bring_up(self, stack: AsyncExitStack) -> State:
        self.report(doing="issuing certificates")
        (self._folder / "control-plane").mkdir()
        plane = ControlPlane.prepare(
            self._build, self._folder / "control-plane", f"lab-{self._name}"
        )
        config = plane.kubeconfig(self._folder / "kubeconfig")
        api = Api(plane.server, plane.credentials.authority.certificate, plane.credentials.admin)
        stack.push_async_callback(api.close)
        addresses = choose_addresses(addresses_in_use())
        # More cores than there may be: the requests of a lab's pods are for show.
        memory, cpus = psutil.virtual_memory().total, max(os.cpu_count() or 1, 8)
        services = Services(api, lambda ip, port: workloads.exposed(ip, port), addresses)
        stack.callback(services.close)
        proxy = (addresses.services, free_port(addresses.services))
        around = Surroundings(
            build=self._build,
            addresses=addresses,
            server=plane.server,
            authority=plane.credentials.authority.certificate,
            discovery=(addresses.services, choose_port(addresses.services, 15012)),
            proxy=f"http://{proxy[0]}:{proxy[1]}",
            relay=services.relay,
            node={"cpu": cpus, "memory": memory},
        )
        workloads = Workloads(api, around, self._folder / "pods", self._mark)
        meter = Meter(workloads.processes)
        made = plane.credentials
        measuring = metrics.MetricsServer(api, meter, made.metrics, made.front_proxy.certificate)
        kubelet_port, metrics_port = free_port(), free_port()

        def resolve(host: str, port: int) -> Endpoint | None:
            if (host, port) == (LOOPBACK, kubelet_port):
                return host, port
            if (host, port) == metrics.ADDRESS:
                return LOOPBACK, metrics_port
            return workloads.exposed(host, port)

        await self._serve(stack, Proxy(plane.tunnel, resolve).start())
        await self._serve(stack, Proxy(proxy, services.resolve).start())
        await self._serve(stack, Relay(around.discovery, workloads.istiod).start())
        await self._serve(stack, measuring.start(LOOPBACK, metrics_port))
        stack.push_async_callback(self._stop_components)

        self.report(doing="starting etcd and the API server")
        await self._start("etcd", plane.etcd())
        await self._start("kube-apiserver", plane.api_server(), api.ready)
        self.report(doing="starting controllers, scheduler and kubelet")
        await self._start("kube-controller-manager", plane.controller_manager(config))
        await self._start("kube-scheduler", plane.scheduler(config))
        await metrics.register(api, made.authority.certificate)
        await self._apply_crds(api)
        kwok = write_config(
            self._folder / "kwok.yaml",
            self._build.share("kwok/node-stages"),
            port=kubelet_port,
            serving=plane.credentials.kubelet,
        )
        await self._start(
            "kwok", [self._build.program("kwok"), f"--kubeconfig={config}", f"--config={kwok}"]
        )
        await api.create("/api/v1/nodes", node(kubernetes_version(), cpus, memory))

        self.report(doing="starting the application and the edge")
        edge = Edge(self._folder, free_port())
        await self._start("edge", edge.command())
        tasks = [
            asyncio.create_task(workloads.run()),
            asyncio.create_task(services.run()),
            asyncio.create_task(meter.run()),
            asyncio.create_task(_follow_targets(api, workloads, edge)),
        ]
        stack.push_async_callback(workloads.stop)
        for task in tasks:
            stack.callback(task.cancel)
        for document in yaml.safe_load_all(APPLICATION.read_text()):
            await _apply(api, document)
        await self._until_site_answers(edge, api)
        await self._components["kube-apiserver"].until_healthy(
            lambda: metrics.missing(api), START_TIMEOUT
        )
        return State(
            name=self._name,
            state="ready",
            kubeconfig=str(config),
            context=f"lab-{self._name}",
            server=plane.server,
            url=edge.url,
            bin=str(self._build.bin),
            charts={each: str(self._build.share(f"charts/{each}")) for each in ("base", "istiod")}
            | {CHART.name: str(CHART)},
            istio_version=istio_version(),
            pid=os.getpid(),
            addresses=addresses.outside,
            addons={each: str(self._build.share(f"samples/addons/{each}.yaml")) for each in ADDONS},
        )

    async def _serve(self, stack: AsyncExitStack, starting: Awaitable[asyncio.Server]) -> None:
        server = await starting
        stack.callback(server.close)

    async def _start(self, name: str, argv: list[str | Path], check: Check | None = None) -> None:
        log = self._folder / "logs" / f"{name}.log"
        process = Process(
            name,
            argv,
            log=log,
            mark=self._mark,
            env=_environment(self._folder),
            folder=self._folder,
        )
        await process.start()
        self._components[name] = process
        if check:
            await process.until_healthy(check, START_TIMEOUT)
        self._keepers.append(asyncio.create_task(process.keep(RESTART_DELAY)))

    async def _stop_components(self) -> None:
        for task in self._keepers:
            task.cancel()
        # In reverse: clients before the servers they would complain about.
        for process in reversed(self._components.values()):
            await process.stop()

    async def _apply_crds(self, api: Api) -> None:
        folder = self._build.share("kwok/crds")
        for plural in ("logs", "portforwards"):
            await _apply(api, yaml.safe_load((folder / f"kwok.x-k8s.io_{plural}.yaml").read_text()))

        async def established() -> str | None:
            for plural in ("logs", "portforwards"):
                path = f"{COLLECTIONS['CustomResourceDefinition']}/{plural}.kwok.x-k8s.io"
                crd = await api.get(path) or {}
                conditions = crd.get("status", {}).get("conditions") or []
                if not any(
                    c["type"] == "Established" and c["status"] == "True" for c in conditions
                ):
                    return f"CustomResourceDefinition {plural} is not established"
            return None

        await self._components["kube-apiserver"].until_healthy(established, START_TIMEOUT)

    async def _until_site_answers(self, edge: Edge, api: Api) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:

            async def check() -> str | None:
                try:
                    answer = await client.get(edge.url, timeout=2)
                except httpx.HTTPError as error:
                    return f"the edge at {edge.url}: {type(error).__name__}"
                if answer.status_code == 200:
                    return None
                pods = await api.get("/api/v1/namespaces/xnat/pods") or {"items": []}
                states = ", ".join(_pod_summary(pod) for pod in pods["items"]) or "no pods yet"
                missing = [f"the site answers {answer.status_code}; pods: {states}"]
                missing += [process.troubles() for process in self._components.values()]
                return "; ".join(filter(None, missing))

            await self._components["edge"].until_healthy(check, START_TIMEOUT)


def _environment(folder: Path) -> dict[str, str]:
    """What components see: nothing of the user's proxies, credentials or kubeconfigs."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        # Collect garbage earlier than Go's 100: a lab should fit on a laptop. Whoever has memory to
        # spare, and no time, sets another.
        "GOGC": os.environ.get("GOGC", "30"),
    }


def _pod_summary(pod: Object) -> str:
    conditions = pod["status"].get("conditions", [])
    why = [c.get("message", "") for c in conditions if c["status"] == "False"]
    return f"{pod['metadata']['name']} {pod['status'].get('phase')} {' '.join(why)}".strip()


async def _apply(api: Api, document: Object) -> None:
    meta = document["metadata"]
    collection = COLLECTIONS[document["kind"]].format(namespace=meta.get("namespace"))
    await api.apply(f"{collection}/{meta['name']}", document, field_manager="lab-application")


async def _follow_targets(api: Api, workloads: Workloads, edge: Edge) -> None:
    """Keep the edge's targets equal to the ready endpoints of the web Service."""
    path = "/apis/discovery.k8s.io/v1/namespaces/xnat/endpointslices"
    slices: dict[str, Object] = {}
    async for event, item in api.watch(
        path, labelSelector="kubernetes.io/service-name=xnat-xnat-web"
    ):
        if event == "SYNC":
            slices = {each["metadata"]["name"]: each for each in item["items"]}
        elif event == "DELETED":
            slices.pop(item["metadata"]["name"], None)
        else:
            slices[item["metadata"]["name"]] = item
        edge.set_targets(
            sorted(
                endpoint
                for each in slices.values()
                for port in each.get("ports") or []
                for target in each.get("endpoints") or []
                if target.get("conditions", {}).get("ready")
                for address in target["addresses"]
                if (endpoint := workloads.exposed(address, port["port"]))
            )
        )


def main() -> None:
    """Run until stopped; an error before readiness goes to the report and the exit code."""
    name, report = sys.argv[1], int(sys.argv[2])
    build = find_build()
    if build is None:
        raise LabError("the lab's binaries are not built", remedy="python -m runbook_lib lab up")
    supervisor = Supervisor(name, build, report)
    try:
        asyncio.run(supervisor.run())
    except RunbookError as error:
        supervisor.report(error=error.cause, remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
