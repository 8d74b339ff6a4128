"""Which program runs for which image, and how it is started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from runbook_lib.lab.workloads import addons, programs
from runbook_lib.lab.workloads.images import (
    JAEGER,
    KIALI,
    KIALI_OPERATOR,
    PILOT,
    PROMETHEUS,
    PROXY,
    XNAT,
)
from runbook_lib.lab.workloads.pods import Container, environment, expand
from runbook_lib.lab.workloads.programs import Launch, PodNetwork, Surroundings

Object = dict[str, Any]

LAUNCHERS: dict[str, Callable[..., Awaitable[Launch]]] = {
    PILOT: programs.istiod,
    PROXY: programs.sidecar,
    XNAT: programs.xnat,
    KIALI_OPERATOR: programs.kiali_operator,
    PROMETHEUS: addons.prometheus,
    JAEGER: addons.jaeger,
    KIALI: addons.kiali,
}


async def launch(
    container: Container, pod: Object, network: PodNetwork, root: Path, around: Surroundings
) -> Launch:
    """The command line for a container that has a program.

    Args:
        root: The folder that plays the container's root file system.
    """
    assert container.program is not None, "simulated containers are not launched"
    env = environment(container, pod, around.node)
    # Nothing of the user's own environment: no proxies, credentials or kubeconfigs.
    env |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(root), "TMPDIR": str(root)}
    arguments = [expand(argument, env) for argument in container.arguments]
    return await LAUNCHERS[container.program](
        container, arguments, env, network=network, root=root, around=around
    )
