"""How the programs of the lab are started, from what a pod's own spec says.

A pod's network is played by two loopback addresses (see ports.py). A pod without a sidecar
listens on its outside address; in a pod with one, the sidecar takes the outside address and the
other containers the inside one, as traffic redirection does in a real pod.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbook_lib.lab.build.binaries import Build, envoy
from runbook_lib.lab.foundation.certificates import kubeconfig, write_private
from runbook_lib.lab.foundation.ports import LOOPBACK, Addresses, choose_port, free_port
from runbook_lib.lab.foundation.process import DIE_WITH_PARENT
from runbook_lib.lab.metrics.telemetry import with_stat_namespace
from runbook_lib.lab.network.tunnel import Endpoint
from runbook_lib.lab.workloads.images import JAEGER, PROXY
from runbook_lib.lab.workloads.pods import Container, containers

Object = dict[str, Any]

ADMIN, STATUS, HEALTH, PROMETHEUS = 15000, 15020, 15021, 15090
ISTIOD_FLAGS = {
    "httpAddr": 8080,
    "grpcAddr": 15010,
    "secureGRPCAddr": 15012,
    "monitoringAddr": 15014,
    "httpsAddr": 15017,
}
UNDECLARED = {
    # Istio's sample: queries, OTLP, Zipkin, its own formats, health, metrics, sampling, debugging.
    JAEGER: (
        *(16685, 16686, 4317, 4318, 9411, 14250, 14268),
        *(13132, 13133, 8888, 5778, 5779, 27777, 27778),
    ),
}
SERVICE_ACCOUNT_FOLDER = "var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Surroundings:
    """What every program of one lab needs to know.

    Attributes:
        discovery: Stable address of istiod's secured xDS port.
        proxy: URL of the forward proxy that reaches pods and Services.
        relay: From a Service's name and port to a lasting address that leads there.
        node: Allocatable `cpu` (cores) and `memory` (bytes).
    """

    build: Build
    addresses: Addresses
    server: str
    authority: Path
    discovery: Endpoint
    proxy: str
    relay: Callable[[str, int], Awaitable[Endpoint]]
    node: dict[str, int]


@dataclass
class PodNetwork:
    """Where the ports of one pod really are.

    Attributes:
        exposed: Container port to what the network reaches: the sidecar where there is one.
        local: Container port to what the pod's own programs listen on.
    """

    pod_ip: str
    outside: str
    inside: str
    exposed: dict[int, Endpoint] = field(default_factory=dict)
    local: dict[int, Endpoint] = field(default_factory=dict)

    @classmethod
    def plan(cls, pod: Object, pod_ip: str, addresses: Addresses) -> PodNetwork:
        """Choose an address and a port for each port that the pod's containers declare."""
        network = cls(pod_ip, addresses.outside_of(pod_ip), addresses.inside_of(pod_ip))
        meshed = has_sidecar(pod)
        for container in containers(pod):
            if container.program == PROXY:
                network._plan_sidecar()
                continue
            for port in opened_ports(container):
                network.exposed[port] = network._choose(network.outside, port)
                network.local[port] = (
                    network._choose(network.inside, port) if meshed else network.exposed[port]
                )
        return network

    def _plan_sidecar(self) -> None:
        # The agent looks for Envoy's metrics at localhost.
        for port in (ADMIN, HEALTH, PROMETHEUS):
            self.local[port] = (LOOPBACK, free_port())
        # The agent listens on all interfaces there and has no setting for it: a port of its own.
        self.local[STATUS] = (LOOPBACK, free_port("0.0.0.0"))
        for port in (STATUS, HEALTH, PROMETHEUS):
            self.exposed[port] = self.local[port]

    @staticmethod
    def _choose(address: str, port: int) -> Endpoint:
        return address, choose_port(address, port)


@dataclass(frozen=True)
class Launch:
    """A command line with its environment, ready for a process."""

    argv: list[str | Path]
    env: dict[str, str]


def has_sidecar(pod: Object) -> bool:
    """Whether the pod has been injected."""
    return any(each.program == PROXY for each in containers(pod))


def opened_ports(container: Container) -> list[int]:
    """Its declared TCP ports, and those that its program is known to open besides."""
    declared = declared_ports(container)
    more = UNDECLARED.get(container.program or "", ())
    return [*declared, *(port for port in more if port not in declared)]


def declared_ports(container: Container) -> list[int]:
    """The container's TCP ports."""
    ports = container.spec.get("ports", [])
    return [each["containerPort"] for each in ports if each.get("protocol", "TCP") == "TCP"]


async def istiod(
    _container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    network: PodNetwork,
    root: Path,
    around: Surroundings,
    **_: object,
) -> Launch:
    """istiod: its listeners on the pod's addresses, its API server named by a kubeconfig."""
    config = kubeconfig(
        root / "kubeconfig",
        name="in-cluster",
        server=around.server,
        authority=around.authority,
        user={"tokenFile": str(root / SERVICE_ACCOUNT_FOLDER / "token")},
    )
    env["KUBECONFIG"] = str(config)
    kept = [each for each in arguments if not each.startswith("--monitoringAddr")]
    flags = [
        f"--{flag}={network.local[port][0]}:{network.local[port][1]}"
        for flag, port in ISTIOD_FLAGS.items()
    ]
    program = around.build.program("pilot-discovery")
    return Launch([program, *kept, *flags, f"--ctrlz_address={network.outside}"], env)


async def sidecar(
    _container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    network: PodNetwork,
    root: Path,
    around: Surroundings,
) -> Launch:
    """pilot-agent, which starts Envoy."""
    proxy_config = json.loads(env.get("PROXY_CONFIG") or "{}")
    istiod = proxy_config.get("discoveryAddress", "istiod.istio-system.svc:15012")
    proxy_config |= {
        "discoveryAddress": f"{around.discovery[0]}:{around.discovery[1]}",
        "binaryPath": str(_envoy_script(root)),
        "configPath": "./etc/istio/proxy",
        "proxyAdminPort": network.local[ADMIN][1],
        "statusPort": network.local[STATUS][1],
        # One worker and a short drain: a laptop has few cores and nobody waits for a lab.
        "concurrency": 1,
        "terminationDrainDuration": "1s",
    }
    root_certificate = str(root / "var/run/secrets/istio/root-cert.pem")
    # With CA_ADDR set, TLS to a loopback address fails; unset, the CA shares xDS's address.
    env.pop("CA_ADDR", None)
    env |= {
        "PROXY_CONFIG": json.dumps(proxy_config),
        "INSTANCE_IP": network.inside,
        "ISTIOD_SAN": istiod.rsplit(":", 1)[0],
        "CA_ROOT_CA": root_certificate,
        "XDS_ROOT_CA": root_certificate,
        "ISTIO_META_INTERCEPTION_MODE": "NONE",
        "ISTIO_BOOTSTRAP": str(_bootstrap(around.build, root)),
        "ENVOY_STATUS_PORT": str(network.local[HEALTH][1]),
        "ENVOY_PROMETHEUS_PORT": str(network.local[PROMETHEUS][1]),
    }
    if "ISTIO_KUBE_APP_PROBERS" in env:
        env["ISTIO_KUBE_APP_PROBERS"] = _moved_probers(env["ISTIO_KUBE_APP_PROBERS"], network)
    (root / "etc/istio/proxy").mkdir(parents=True, exist_ok=True)
    return Launch([around.build.program("pilot-agent"), *arguments], env)


def _envoy_script(root: Path) -> Path:
    """Envoy, tied to the agent's life: the agent leaves it running when it is killed."""
    command = " ".join(DIE_WITH_PARENT)
    script = write_private(root / "envoy", f'#!/bin/sh\nexec {command} "{envoy()}" "$@"\n')
    script.chmod(0o700)
    return script


def _bootstrap(build: Build, root: Path) -> Path:
    """Istio's own bootstrap template, with Envoy's health and metrics ports off the wildcard."""
    template = with_stat_namespace(build.share("envoy_bootstrap.json").read_text())
    return write_private(
        root / "envoy_bootstrap.json", template.replace("{{ .wildcard }}", LOOPBACK)
    )


def _moved_probers(probers: str, network: PodNetwork) -> str:
    """Point the agent's application probes at the ports that the application really got."""
    moved = json.loads(probers)
    for prober in moved.values():
        request = prober.get("httpGet") or prober.get("tcpSocket")
        if request and request["port"] in network.local:
            request["port"] = network.local[request["port"]][1]
    return json.dumps(moved)


async def xnat(
    _container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    network: PodNetwork,
    **_: object,
) -> Launch:
    """The stand-in for XNAT."""
    return _python("runbook_lib.lab.standins.xnat", arguments, env, network)


async def kiali_operator(
    _container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    network: PodNetwork,
    root: Path,
    around: Surroundings,
) -> Launch:
    """The stand-in for the Kiali operator."""
    places = {
        "server": around.server,
        "authority": around.authority,
        "token": root / SERVICE_ACCOUNT_FOLDER / "token",
        "sample": around.build.share("samples/addons/kiali.yaml"),
    }
    flags = [f"--{name}={value}" for name, value in places.items()]
    return _python("runbook_lib.lab.standins.kiali_operator", [*flags, *arguments], env, network)


def _python(module: str, arguments: list[str], env: dict[str, str], network: PodNetwork) -> Launch:
    """A stand-in of the lab's own, listening on the container's first port."""
    address, port = next(
        endpoint for declared, endpoint in network.local.items() if declared < ADMIN
    )
    env["PYTHONPATH"] = str(Path(__file__).resolve().parents[3])
    return Launch(
        [sys.executable, "-m", module, f"--address={address}", f"--port={port}", *arguments], env
    )
