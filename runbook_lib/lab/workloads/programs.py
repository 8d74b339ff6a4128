"""How the programs of the lab are started, from what a pod's own spec says."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runbook_lib.lab.build import behind
from runbook_lib.lab.build.binaries import Build, envoy
from runbook_lib.lab.foundation.addresses import API_SERVICE_IP
from runbook_lib.lab.foundation.certificates import kubeconfig, write_private
from runbook_lib.lab.foundation.process import DIE_WITH_PARENT, Launch
from runbook_lib.lab.workloads.images import tag_of
from runbook_lib.lab.workloads.pods import Container
from runbook_lib.lab.workloads.telemetry import with_stat_namespace

Object = dict[str, Any]

SERVICE_ACCOUNT_FOLDER = "var/run/secrets/kubernetes.io/serviceaccount"
MARK = 1337
"""Packet mark of what Envoy sends, in place of the user id that istio-init's rules go by.

A user namespace with one id cannot run Envoy as user 1337, and any user can make such a one.
"""

_PACKAGE = str(Path(__file__).resolve().parents[3])
"""The folder that this package lies in."""

_ENVOY = "/usr/local/bin/envoy"
"""Where Istio's image has it."""

_SO_MARK = 36
_DISCOVERY_PORT = 15012


@dataclass(frozen=True)
class Surroundings:
    """What every program of one lab needs to know.

    Attributes:
        build: What the lab was built with.
        versions: Other versions of Istio, by version.
        authority: Certificate that signed the API server's.
        nft: The program of that name.
        node: Allocatable `cpu` (cores) and `memory` (bytes).
        folder: The lab's.
    """

    build: Build
    versions: Mapping[str, Build]
    authority: Path
    nft: Path
    node: dict[str, int]
    folder: Path

    def addon(self, name: str) -> Path:
        """The program of an add-on.

        Raises:
            BeingCompiled: It is not there yet.
            LabError: It could not be compiled.
        """
        return behind.require(self.build.program(name), self.folder)

    def istio(self, container: Container) -> Build:
        """What the tag of a container's image names, as in a registry; `latest` is the build's."""
        return self.versions.get(tag_of(container.spec["image"]), self.build)

    def client(self, root: Path, user: Object | None = None) -> Path:
        """A kubeconfig with the pod's service account, for the API server's Service."""
        return kubeconfig(
            root / "kubeconfig",
            name="in-cluster",
            server=f"https://{API_SERVICE_IP}",
            authority=self.authority,
            user=user or {"tokenFile": str(root / SERVICE_ACCOUNT_FOLDER / "token")},
        )


class Launcher(Protocol):
    """Makes the command line of a container."""

    def __call__(
        self,
        container: Container,
        arguments: list[str],
        env: dict[str, str],
        *,
        root: Path,
        around: Surroundings,
    ) -> Awaitable[Launch]:
        """The command line.

        Args:
            container: Of the pod.
            arguments: Its args, expanded.
            env: Its environment, and nothing of the user's own; may be changed.
            root: The folder that plays the container's root file system: volumes are below it,
                and it is the working directory.
            around: The lab.
        """


async def istiod(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    root: Path,
    around: Surroundings,
) -> Launch:
    """istiod, with its own arguments."""
    env["KUBECONFIG"] = str(around.client(root))
    return Launch([around.istio(container).program("pilot-discovery"), *arguments], env)


async def proxy(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    root: Path,
    around: Surroundings,
) -> Launch:
    """istio-init, a sidecar, or whatever else the arguments of Istio's one image say."""
    agent = around.istio(container).program("pilot-agent")
    env["PATH"] = f"{agent.parent}:{env['PATH']}:{around.nft.parent}"
    if arguments[:1] == ["istio-iptables"]:
        return _istio_init(agent, arguments, env, root, around)
    if container.command[:1] == [_ENVOY]:
        return Launch([envoy(), *container.command[1:], *arguments], env)
    if not container.proxies:
        return Launch([agent, *arguments], env)
    proxy_config = json.loads(env.get("PROXY_CONFIG") or "{}")
    proxy_config |= {
        "binaryPath": str(_envoy_script(root)),
        "configPath": "./etc/istio/proxy",
        # One worker and a short drain: a laptop has few cores and people do not wait for a lab.
        "concurrency": 1,
        "terminationDrainDuration": "1s",
    }
    env |= {
        "PROXY_CONFIG": json.dumps(proxy_config),
        "ISTIO_BOOTSTRAP": str(_bootstrap(around.build, root)),
    }
    (root / "etc/istio/proxy").mkdir(parents=True, exist_ok=True)
    return Launch([agent, *arguments], env)


def _istio_init(
    agent: Path, arguments: list[str], env: dict[str, str], root: Path, around: Surroundings
) -> Launch:
    """Istio's own program writes the rules; `nft`, as it finds it, has them go by packet marks.

    The agent runs as the same user as the application and its packets have no mark, so the one
    thing that it asks of the network itself, istiod, is excepted.
    """
    folder = root / "bin"
    folder.mkdir(exist_ok=True)
    script = write_private(
        folder / "nft",
        "#!/bin/sh\n"
        f"nft={shlex.quote(str(around.nft))}\n"
        'case "$*" in\n'
        f'*"-f -") sed -e "/skgid/d" -e "s/skuid/meta mark/g" | "$nft" "$@" ;;\n'
        '*) exec "$nft" "$@" ;;\n'
        "esac\n",
    )
    script.chmod(0o700)
    env["PATH"] = f"{folder}:{env['PATH']}"
    exception = f"insert rule inet istio-proxy-nat istio-output tcp dport {_DISCOVERY_PORT} return"
    words = shlex.join([str(agent), *arguments, "--native-nftables"])
    return Launch(["/bin/sh", "-c", f"{words} && exec nft {shlex.quote(exception)}"], env)


def _envoy_script(root: Path) -> Path:
    """Envoy, tied to the agent's life: the agent leaves it running when it is killed."""
    command = " ".join(DIE_WITH_PARENT)
    script = write_private(root / "envoy", f'#!/bin/sh\nexec {command} "{envoy()}" "$@"\n')
    script.chmod(0o700)
    return script


def _bootstrap(build: Build, root: Path) -> Path:
    """Istio's own bootstrap template, with the mark on all that Envoy sends."""
    template = with_stat_namespace(build.share("envoy_bootstrap.json").read_text())
    mark = {"level": 1, "name": _SO_MARK, "int_value": MARK, "state": "STATE_PREBIND"}
    bound = json.dumps({"upstream_bind_config": {"socket_options": [mark]}})[1:-1]
    # The cluster manager is configured on some conditions alone, and then to put clusters off.
    for before, after in (
        ("{{ if or .outlier_log_path .load_stats_config_json_str .enable_self_discovery }}", _IF),
        ('"enable_deferred_cluster_creation": true', bound),
    ):
        assert template.count(before) == 1, f"Istio's bootstrap template has {before} once"
        template = template.replace(before, after)
    return write_private(root / "envoy_bootstrap.json", template)


_IF = "{{ if true }}"


async def kiali_operator(
    container: Container,
    arguments: list[str],
    env: dict[str, str],
    *,
    root: Path,
    around: Surroundings,
) -> Launch:
    """The stand-in for the Kiali operator."""
    sample = f"--sample={around.build.share('samples/addons/kiali.yaml')}"
    flags = [*_in_cluster(root, around), sample]
    listen = ["--address=0.0.0.0", f"--port={container.spec['ports'][0]['containerPort']}"]
    return Launch([*python("kiali_operator", env), *listen, *flags, *arguments], env)


async def cloudnativepg(
    container: Container,  # noqa: ARG001 -- as every launcher
    arguments: list[str],
    env: dict[str, str],
    *,
    root: Path,
    around: Surroundings,
) -> Launch:
    """The stand-in for CloudNativePG's operator."""
    return Launch([*python("cloudnativepg", env), *_in_cluster(root, around), *arguments], env)


async def runbook(
    container: Container,  # noqa: ARG001 -- as every launcher
    arguments: list[str],
    env: dict[str, str],
    *,
    root: Path,  # noqa: ARG001
    around: Surroundings,
) -> Launch:
    """The runbook's own command line, which looks at the cluster from inside."""
    env["PATH"] = f"{around.build.bin}:{env['PATH']}"
    env["PYTHONPATH"] = _PACKAGE
    return Launch([sys.executable, "-m", "runbook_lib", *arguments], env)


def _in_cluster(root: Path, around: Surroundings) -> list[str]:
    """Return the options by which an operator finds the API server, and who it is there."""
    places = {
        "server": f"https://{API_SERVICE_IP}",
        "authority": around.authority,
        "token": root / SERVICE_ACCOUNT_FOLDER / "token",
    }
    return [f"--{name}={value}" for name, value in places.items()]


def python(module: str, env: dict[str, str]) -> list[str]:
    """The command of a module of the lab's stand-ins."""
    env["PYTHONPATH"] = _PACKAGE
    return [sys.executable, "-m", f"runbook_lib.lab.standins.{module}"]
