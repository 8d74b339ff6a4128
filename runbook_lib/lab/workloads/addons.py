"""Prometheus, Jaeger and Kiali as processes, from their own pods' specs.

Their command lines and mounted configurations name paths of a container. The copies made here
name those of the lab: a path below a mount becomes one in the container's folder.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from runbook_lib.lab.foundation.addresses import API_SERVICE_IP
from runbook_lib.lab.foundation.certificates import write_private
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.process import Launch
from runbook_lib.lab.workloads.pods import Container
from runbook_lib.lab.workloads.programs import SERVICE_ACCOUNT_FOLDER, Surroundings
from runbook_lib.lab.workloads.telemetry import relabelling

Object = dict[str, Any]

_SIGNING_KEY = "kiali-override-secrets/login-token-signing-key/value.txt"
_PAGE = Path(__file__).parents[1] / "standins" / "kiali.html"


async def prometheus(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    root: Path,
    around: Surroundings,
) -> Launch:
    """Prometheus, which finds its targets through the API server."""
    place = _places(container, root)
    flags = dict(each.split("=", 1) for each in arguments if "=" in each)
    config = _read(Path(place(flags["--config.file"])))
    client = str(around.client(root))
    for job in config.get("scrape_configs", []):
        job["metric_relabel_configs"] = [*job.get("metric_relabel_configs", []), *relabelling()]
        for discovery in job.get("kubernetes_sd_configs", []):
            discovery["kubeconfig_file"] = client
    flags["--config.file"] = str(
        write_private(root / "prometheus.yml", yaml.safe_dump(_replaced(config, place)))
    )
    switches = [each for each in arguments if "=" not in each]
    pairs = [f"{flag}={place(value)}" for flag, value in flags.items()]
    return Launch([around.addon("prometheus"), *switches, *pairs], env)


async def jaeger(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    root: Path,
    around: Surroundings,
) -> Launch:
    """Jaeger, with the sample's configuration."""
    place = _places(container, root)
    file = arguments.index("--config") + 1
    config = _replaced(_read(Path(place(arguments[file]))), place)
    arguments[file] = str(write_private(root / "jaeger.yaml", yaml.safe_dump(config)))
    return Launch([around.addon("jaeger"), *arguments], env)


async def kiali(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
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
    config.setdefault("deployment", {})["remote_secret_path"] = str(around.client(root, user))
    key = root / _SIGNING_KEY
    login = config.setdefault("login_token", {})
    if key.is_file():
        login["signing_key"] = key.read_text()
    elif len(login.get("signing_key") or "") not in (16, 24, 32):
        login["signing_key"] = secrets.token_hex(16)
    server = config.setdefault("server", {})
    pages = root / "console"
    pages.mkdir(exist_ok=True)
    write_private(pages / "index.html", _PAGE.read_text())
    server["static_content_root_directory"] = str(pages)
    external = config.setdefault("external_services", {})
    external.setdefault("grafana", {}).setdefault("enabled", False)
    traces = external.setdefault("tracing", {})
    if traces.get("enabled"):
        # Kiali 2 has another name for it than 1.89, and the operator writes that one.
        url = traces.get("internal_url") or traces.get("in_cluster_url")
        traces["in_cluster_url"] = url or "http://tracing.istio-system:16685/jaeger"
    copy = write_private(root / "kiali.yaml", yaml.safe_dump(config))
    env |= {"KUBERNETES_SERVICE_HOST": API_SERVICE_IP, "KUBERNETES_SERVICE_PORT": "443"}
    return Launch([around.addon("kiali"), "-config", copy], env)


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
