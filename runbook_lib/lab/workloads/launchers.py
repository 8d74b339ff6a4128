"""Which program runs for which image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runbook_lib.lab.foundation.process import Launch
from runbook_lib.lab.workloads import addons, applications, programs
from runbook_lib.lab.workloads.images import (
    CLOUDNATIVEPG,
    JAEGER,
    KIALI,
    KIALI_OPERATOR,
    PILOT,
    PORTAL,
    POSTGRESQL,
    PROMETHEUS,
    PROXY,
    RUNBOOK,
    XNAT,
)
from runbook_lib.lab.workloads.pods import Container, Sources, environment, expand
from runbook_lib.lab.workloads.programs import Launcher, Surroundings

Object = dict[str, Any]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

LAUNCHERS: dict[str, Launcher] = {
    PILOT: programs.istiod,
    PROXY: programs.proxy,
    XNAT: applications.xnat,
    POSTGRESQL: applications.postgresql,
    PORTAL: applications.portal,
    CLOUDNATIVEPG: programs.cloudnativepg,
    KIALI_OPERATOR: programs.kiali_operator,
    PROMETHEUS: addons.prometheus,
    JAEGER: addons.jaeger,
    KIALI: addons.kiali,
    RUNBOOK: programs.runbook,
}


async def launch(
    container: Container, pod: Object, given: Sources, root: Path, around: Surroundings
) -> Launch:
    """The command line for a container that has a program.

    Args:
        container: Of the pod.
        pod: As the API server holds it.
        given: The ConfigMaps and Secrets that its environment refers to.
        root: The folder that plays the container's root file system.
        around: The lab.
    """
    assert container.program is not None, "simulated containers are not launched"
    env = environment(container, pod, around.node, given)
    # Nothing of the user's own environment: no proxies, credentials or kubeconfigs.
    env |= {"PATH": PATH, "HOME": str(root), "TMPDIR": str(root)}
    env |= {"HOSTNAME": pod["metadata"]["name"]}
    arguments = [expand(argument, env) for argument in container.arguments]
    return await LAUNCHERS[container.program](container, arguments, env, root=root, around=around)
