"""The process that owns a lab: starts everything, keeps it running, stops it.

It is started by the gate (network/gate.py), in namespaces of its own. It reports what it is doing
as JSON lines on the given file descriptor until the lab is ready or has failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.locations import command_line, lab_directory
from runbook_lib.lab.build.binaries import Build, find_build
from runbook_lib.lab.build.recipes import istio_version, kubernetes_version
from runbook_lib.lab.build.versions import ensure_next, next_version
from runbook_lib.lab.control_plane import kwok, processes
from runbook_lib.lab.control_plane.processes import ControlPlane
from runbook_lib.lab.foundation.addresses import LOOPBACK, NODE_IP
from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.state import State, write_state
from runbook_lib.lab.kubelet import server as kubelet
from runbook_lib.lab.metrics import server as metrics
from runbook_lib.lab.metrics.usage import Meter
from runbook_lib.lab.network import dns
from runbook_lib.lab.network.directory import Directory
from runbook_lib.lab.network.edge import EDGE_IP, Edge
from runbook_lib.lab.network.gate import Gate
from runbook_lib.lab.network.load_balancers import CLASS, LoadBalancers, free_address
from runbook_lib.lab.network.node import set_up_node
from runbook_lib.lab.network.policies import enforce_policies
from runbook_lib.lab.network.relay import relay
from runbook_lib.lab.network.sandbox import make_sandbox
from runbook_lib.lab.supervision.components import Components
from runbook_lib.lab.workloads.programs import Surroundings
from runbook_lib.lab.workloads.storage import provide_volumes
from runbook_lib.lab.workloads.workloads import Workloads

Object = dict[str, Any]

log = logging.getLogger(__name__)

ADDONS = ("prometheus", "jaeger")
"""Istio's sample add-ons that have a process in the lab."""
STANDINS = Path(__file__).parents[1] / "standins"
APPLICATION = STANDINS / "application.yaml"
"""What a lab runs unless another manifest is given."""
CHART = STANDINS / "charts" / "kiali-operator"


class Supervisor:
    """One lab.

    Args:
        options: The command line.
        build: The lab's programs.
    """

    def __init__(self, options: argparse.Namespace, build: Build) -> None:
        self._options, self._build = options, build
        self._versions = {next_version(): ensure_next(build)}
        self._folder = lab_directory(options.name)
        self._gate = Gate(options.gate)
        self._components = Components(self._folder, [options.nft.parent])
        self._sites: dict[str, str] = {}
        self._state: State | None = None

    def report(self, **message: str) -> None:
        """Tell the command that waits for the lab; it may have gone."""
        try:
            os.write(self._options.report, (json.dumps(message) + "\n").encode())
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
            self._state = bringing_up.result()
            self._show_sites(self._sites)
            self.report(ready=self._state.url)
            os.close(self._options.report)
            await stopping
            write_state(self._options.name, self._state.stopping())

    def _show_sites(self, sites: dict[str, str]) -> None:
        """Write down where each namespace's site is, once the lab is ready."""
        self._sites = sites
        if self._state:
            self._state = replace(self._state, sites=sites)
            write_state(self._options.name, self._state)

    async def _bring_up(self, stack: AsyncExitStack) -> State:
        self.report(doing="issuing certificates")
        set_up_node()
        folder = self._folder / "control-plane"
        folder.mkdir()
        plane = ControlPlane.prepare(self._build, folder)
        api = Api(processes.API, plane.credentials.authority.certificate, plane.credentials.admin)
        stack.push_async_callback(api.close)
        stack.push_async_callback(self._components.stop)
        # More cores than there may be: the requests of a lab's pods are for show.
        size = {"cpu": max(os.cpu_count() or 1, 8), "memory": psutil.virtual_memory().total}
        node_address = free_address()
        self.report(doing="starting etcd and the API server")
        await self._start_api_server(plane, api)
        self.report(doing="starting controllers, scheduler and kubelet")
        await self._start_node(plane, api, size, node_address)
        workloads = await self._start_workloads(stack, plane, api, size)
        self.report(doing="starting the application and the edge")
        balancers = await self._start_network(stack, api, node_address)
        documents, namespace = _application(self._options.application)
        for document in documents:
            await api.apply(_path(document), document, field_manager="lab-application")
        server = await self._show_api_server(stack)
        name = f"lab-{self._options.name}"
        config = plane.kubeconfig(self._folder / "kubeconfig", name=name, server=server)
        url = await self._site(balancers, api, namespace)
        await self._components.until_healthy("kube-apiserver", lambda: metrics.missing(api))
        del workloads
        return State(
            name=self._options.name,
            state="ready",
            kubeconfig=str(config),
            context=name,
            server=server,
            url=url,
            **_brought(self._build),
            istio_version=istio_version(),
            upgrades={version: _brought(build) for version, build in self._versions.items()},
            pid=os.getpid(),
            addons={each: str(self._build.share(f"samples/addons/{each}.yaml")) for each in ADDONS},
            authority=str(balancers.authority),
        )

    async def _start_api_server(self, plane: ControlPlane, api: Api) -> None:
        await self._components.start("etcd", plane.etcd())
        audit = self._folder / "logs" / "audit.log" if self._options.audit else None
        await self._components.start("kube-apiserver", plane.api_server(audit), api.ready)

    async def _start_node(
        self, plane: ControlPlane, api: Api, size: dict[str, int], node_address: str
    ) -> None:
        config = plane.kubeconfig(
            self._folder / "control-plane/kubeconfig", name="node", server=processes.API
        )
        await self._components.start("kube-controller-manager", plane.controller_manager(config))
        await self._components.start("kube-scheduler", plane.scheduler(config))
        settings = kwok.write_config(
            self._folder / "kwok.yaml",
            self._build.share("kwok/node-stages"),
            kubelet_port=kubelet.PORT,
        )
        program = self._build.program("kwok")
        await self._components.start(
            "kwok", [program, f"--kubeconfig={config}", f"--config={settings}"]
        )
        await api.create("/api/v1/nodes", kwok.node(kubernetes_version(), size, node_address))
        await self._components.start("kube-proxy", plane.kube_proxy(config))

    async def _start_workloads(
        self, stack: AsyncExitStack, plane: ControlPlane, api: Api, size: dict[str, int]
    ) -> Workloads:
        made, claims = plane.credentials, self._folder / "volumes"
        around = Surroundings(
            self._build,
            self._versions,
            made.authority.certificate,
            nft=self._options.nft,
            node=size,
            folder=self._folder,
        )
        workloads = Workloads(api, around, self._folder / "pods", claims, str(self._folder))
        meter = Meter(workloads.processes)
        serving = kubelet.Kubelet(workloads, str(self._folder))
        measuring = metrics.MetricsServer(api, meter)
        for starting in (
            serving.start(made.kubelet, made.authority.certificate),
            measuring.start(made.metrics, made.front_proxy.certificate),
        ):
            stack.callback((await starting).close)
        await metrics.register(api, made.authority.certificate)
        stack.push_async_callback(workloads.stop)
        _keep(stack, workloads.run(), meter.run(), provide_volumes(api, claims))
        return workloads

    async def _start_network(
        self, stack: AsyncExitStack, api: Api, node_address: str
    ) -> LoadBalancers:
        directory = Directory(api)
        server = await dns.Dns(directory).start()
        stack.callback(server.close)
        await dns.register(api)
        folder = self._folder / "edge"
        folder.mkdir()
        sandbox = make_sandbox(
            folder / "etc",
            name="edge",
            namespace="default",
            address=EDGE_IP,
            number=-1,
            host_network=False,
        )
        stack.callback(sandbox.close)
        edge = Edge(folder, keep_connections=self._options.keep_connections)
        await self._components.start("edge", [*sandbox.enter, *edge.command()])
        balancers = LoadBalancers(
            api, directory, self._gate, edge, folder, node_address, tell=self._show_sites
        )
        stack.callback(balancers.close)
        _keep(stack, directory.run(), balancers.run(), enforce_policies(api, self._options.nft))
        return balancers

    async def _show_api_server(self, stack: AsyncExitStack) -> str:
        """Let the host reach the API server; returns its URL there."""
        listening = await self._gate.listen(LOOPBACK)
        port = listening.getsockname()[1]
        server = await relay(listening, (NODE_IP, processes.API_PORT))
        stack.callback(server.close)
        return f"https://{LOOPBACK}:{port}"

    async def _site(self, balancers: LoadBalancers, api: Api, namespace: str) -> str:
        """Wait until the application answers from outside; returns its URL there."""
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            # The host's addresses are not the lab's: the edge is asked at its own.
            async def check() -> str | None:
                url = balancers.url(namespace)
                if url is None:
                    return "the application's Ingress has no load balancer"
                seen = await _answer(client, balancers.inside(namespace))
                if seen in ("200", "302"):
                    return None
                pods = await api.get(f"/api/v1/namespaces/{namespace}/pods") or {"items": []}
                states = ", ".join(_pod_summary(pod) for pod in pods["items"]) or "no pods yet"
                missing = [f"the site answers {seen}; pods: {states}", *self._components.troubles()]
                return "; ".join(missing)

            await self._components.until_healthy("edge", check)
        found = balancers.url(namespace)
        assert found, "it was there a moment ago"
        return found


async def _answer(client: httpx.AsyncClient, url: str | None) -> str:
    try:
        return str((await client.get(url or "", timeout=2)).status_code)
    except httpx.HTTPError as error:
        return type(error).__name__


def _keep(stack: AsyncExitStack, *coroutines: Any) -> None:
    """Run something for as long as the lab; what it fails with goes to the supervisor's log."""
    for coroutine in coroutines:
        task = asyncio.create_task(coroutine)
        task.add_done_callback(_tell)
        stack.callback(task.cancel)


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        log.error("%s failed", task.get_coro(), exc_info=task.exception())


def _pod_summary(pod: Object) -> str:
    conditions = pod["status"].get("conditions", [])
    why = [c.get("message", "") for c in conditions if c["status"] == "False"]
    return f"{pod['metadata']['name']} {pod['status'].get('phase')} {' '.join(why)}".strip()


def _application(manifest: Path) -> tuple[list[Object], str]:
    """The objects of an application, and the namespace of its Ingress."""
    documents = [each for each in yaml.safe_load_all(manifest.read_text()) if each]
    for each in documents:
        if each["kind"] == "Ingress":
            return documents, str(each["metadata"]["namespace"])
    raise LabError(
        f"{manifest} has no Ingress, so nothing of it is reached from outside",
        remedy=f"add one of class {CLASS}; {APPLICATION} shows how",
    )


def _path(document: Object) -> str:
    """The path of an object of the application on the API server."""
    meta, version = document["metadata"], document["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    space = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    kind = document["kind"].lower()
    plural = (
        f"{kind}es" if kind.endswith("s") else f"{kind[:-1]}ies" if kind[-1] == "y" else f"{kind}s"
    )
    return f"{root}{space}/{plural}/{meta['name']}"


def _brought(build: Build) -> dict[str, Any]:
    """What a lab says of a version: where its programs and charts are."""
    charts = {each: str(build.share(f"charts/{each}")) for each in ("base", "istiod")}
    return {"bin": str(build.bin), "charts": charts | {CHART.name: str(CHART)}}


def main() -> None:
    """Run until stopped; an error before readiness goes to the report and the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--nft", type=Path, required=True, help="the program")
    parser.add_argument("--application", type=Path, default=APPLICATION, help="its manifest")
    parser.add_argument("--keep-connections", action="store_true", help="of the edge to targets")
    parser.add_argument("--audit", action="store_true", help="log what the API server is asked")
    parser.add_argument("report", type=int, help="file descriptor")
    parser.add_argument("gate", type=int, help="file descriptor")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    build = find_build()
    if build is None:
        raise LabError("the lab's binaries are not built", remedy=command_line("lab", "up"))
    supervisor = Supervisor(options, build)
    try:
        asyncio.run(supervisor.run())
    except RunbookError as error:
        supervisor.report(error=error.cause, remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
