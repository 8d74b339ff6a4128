"""Prometheus, Jaeger and Kiali as processes, from their own pods' specs.

Their command lines and mounted configurations name addresses and paths of a container. The copies
made here name those of the lab: a path below a mount becomes one in the container's folder, and
0.0.0.0 becomes the pod's address. Whatever would go through the cluster's network goes through
the lab's stand-ins for it: Prometheus through a forward proxy, because it scrapes pod addresses,
Kiali, which ignores proxies, through relays.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

from runbook_lib.lab.foundation.certificates import kubeconfig, write_private
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.workloads.pods import Container
from runbook_lib.lab.workloads.programs import (
    SERVICE_ACCOUNT_FOLDER,
    Launch,
    PodNetwork,
    Surroundings,
)

Object = dict[str, Any]

_EVERYWHERE = "0.0.0.0"
_SIGNING_KEY = "kiali-override-secrets/login-token-signing-key/value.txt"
_PAGE = Path(__file__).parents[1] / "standins" / "kiali.html"


async def prometheus(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    network: PodNetwork,
    root: Path,
    around: Surroundings,
) -> Launch:
    """Prometheus: scrapes through the lab's proxy, finds targets through the API server."""
    place = _places(container, root)
    flags = dict(each.split("=", 1) for each in arguments if "=" in each)
    config = _read(Path(place(flags["--config.file"])))
    client = str(_client(root, around))
    for job in config.get("scrape_configs", []):
        job["proxy_url"] = around.proxy
        for discovery in job.get("kubernetes_sd_configs", []):
            discovery["kubeconfig_file"] = client
        for static in job.get("static_configs", []):
            static["targets"] = [
                each.replace("localhost:", f"{network.pod_ip}:") for each in static["targets"]
            ]
    flags["--config.file"] = str(
        write_private(root / "prometheus.yml", yaml.safe_dump(_replaced(config, place)))
    )
    flags["--web.listen-address"] = _listen(network, 9090)
    switches = [each for each in arguments if "=" not in each]
    pairs = [f"{flag}={place(value)}" for flag, value in flags.items()]
    return Launch([around.build.program("prometheus"), *switches, *pairs], env)


async def jaeger(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    network: PodNetwork,
    root: Path,
    around: Surroundings,
) -> Launch:
    """Jaeger: everything of the sample's configuration, on the pod's address."""
    place = _places(container, root)
    file = arguments.index("--config") + 1
    config = _read(Path(place(arguments[file])))
    extensions = config["extensions"]
    for protocol, port in (("http", 16686), ("grpc", 16685)):
        query = extensions["jaeger_query"].setdefault(protocol, {})
        query.setdefault("endpoint", f"{_EVERYWHERE}:{port}")
    if "grpc" in extensions.get("healthcheckv2", {}):
        # Left empty it listens on a port of the machine.
        extensions["healthcheckv2"]["grpc"] = {"endpoint": f"{_EVERYWHERE}:13132"}

    def moved(text: str) -> str:
        address = re.fullmatch(rf"{re.escape(_EVERYWHERE)}:(\d+)", text)
        return _listen(network, int(address[1])) if address else place(text)

    for reader in config["service"]["telemetry"]["metrics"]["readers"]:
        exporter = reader["pull"]["exporter"]["prometheus"]
        exporter["host"], exporter["port"] = network.local[exporter["port"]]
    copy = write_private(root / "jaeger.yaml", yaml.safe_dump(_replaced(config, moved)))
    arguments[file] = str(copy)
    return Launch([around.build.program("jaeger"), *arguments], env)


async def kiali(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    network: PodNetwork,
    root: Path,
    around: Surroundings,
) -> Launch:
    """The Kiali server: its API is real; its web pages are not part of the Go module."""
    command = [*container.spec.get("command", []), *arguments]
    place = _places(container, root)
    config = _read(Path(place(command[command.index("-config") + 1])))
    token = root / SERVICE_ACCOUNT_FOLDER / "token"
    # Kiali reads the token itself from here, its Kubernetes client follows the file.
    user = {"token": token.read_text(), "tokenFile": str(token)}
    config.setdefault("deployment", {})["remote_secret_path"] = str(_client(root, around, user))
    key = root / _SIGNING_KEY
    login = config.setdefault("login_token", {})
    if key.is_file():
        login["signing_key"] = key.read_text()
    elif len(login.get("signing_key") or "") not in (16, 24, 32):
        login["signing_key"] = secrets.token_hex(16)
    server = config.setdefault("server", {})
    server["address"], server["port"] = network.local[server.get("port", 20001)]
    measured = server.setdefault("observability", {}).setdefault("metrics", {})
    if measured.get("enabled", True):
        measured["port"] = network.local[measured.get("port", 9090)][1]
    pages = root / "console"
    pages.mkdir(exist_ok=True)
    write_private(pages / "index.html", _PAGE.read_text())
    server["static_content_root_directory"] = str(pages)
    await _reach_services(config.setdefault("external_services", {}), around)
    copy = write_private(root / "kiali.yaml", yaml.safe_dump(config))
    host, port = urlsplit(around.server).netloc.rsplit(":", 1)
    env |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    return Launch([around.build.program("kiali"), "-config", copy], env)


async def _reach_services(external: Object, around: Surroundings) -> None:
    """Point Kiali's clients at relays; the URLs are the defaults where none is given."""
    metrics = external.setdefault("prometheus", {})
    metrics["url"] = await _relayed(
        metrics.get("url") or "http://prometheus.istio-system:9090", around
    )
    traces = external.setdefault("tracing", {})
    if traces.get("enabled"):
        # Kiali 2 has another name for it than 1.89, and the operator writes that one.
        url = traces.get("internal_url") or traces.get("in_cluster_url")
        default = "http://tracing.istio-system:16685/jaeger"
        traces["in_cluster_url"] = await _relayed(url or default, around)
    external.setdefault("grafana", {}).setdefault("enabled", False)


async def _relayed(url: str, around: Surroundings) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    address, port = await around.relay(str(parts.hostname), port)
    return urlunsplit(parts._replace(netloc=f"{address}:{port}"))


def _client(root: Path, around: Surroundings, user: Object | None = None) -> Path:
    """A kubeconfig with the pod's service account."""
    token = str(root / SERVICE_ACCOUNT_FOLDER / "token")
    return kubeconfig(
        root / "kubeconfig",
        name="in-cluster",
        server=around.server,
        authority=around.authority,
        user=user or {"tokenFile": token},
    )


def _listen(network: PodNetwork, port: int) -> str:
    # A port that the lab does not plan for is opened as it is; nothing reaches it from outside.
    address, real = network.local.get(port, (network.outside, port))
    return f"{address}:{real}"


def _places(container: Container, root: Path) -> Callable[[str], str]:
    """From a path in the container to one on the machine; other text stays as it is."""
    mounts = [each["mountPath"].rstrip("/") for each in container.spec.get("volumeMounts", [])]

    def place(text: str) -> str:
        inside = any(text == mount or text.startswith(f"{mount}/") for mount in mounts)
        return str(root / text.lstrip("/")) if inside else text

    return place


def _replaced(value: Any, change: Callable[[str], str]) -> Any:
    """The same structure with every string changed."""
    if isinstance(value, dict):
        return {key: _replaced(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


def _read(path: Path) -> Object:
    try:
        config = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise LabError(f"the pod mounts no configuration at {path.name}") from error
    if not isinstance(config, dict):
        raise LabError(f"{path.name} is no mapping")
    return config
