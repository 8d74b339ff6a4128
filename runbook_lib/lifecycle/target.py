"""The cluster that a run works on: resolved once, pinned by its UID, shown to the user."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from runbook_lib.base import (
    ClusterRefused,
    LabNotRunning,
    ParameterError,
    TargetChanged,
    command_line,
    lab_names,
    lab_state_file,
)
from runbook_lib.cluster import Cluster, Kubeconfig
from runbook_lib.parameters import Capabilities, Parameters


class Identified(Protocol):
    """Something that knows its cluster's UID."""

    def uid(self) -> str:
        """The UID of the namespace kube-system."""


@dataclass(frozen=True)
class Target:
    """One cluster, and the application's address on it.

    Attributes:
        name: What people call it, and what an approval names: `lab-<name>`, or the name of the
            context's cluster in the kubeconfig.
        kubeconfig: The kubeconfig file, or several that are merged.
        context: The context in it.
        server: The API server's URL.
        uid: The UID of the namespace kube-system: the cluster's identity.
        url: The application as seen from outside, without a path.
        production: Whether users depend on it.
        allows: What follows from its kind.
        tools: The folder with kubectl, helm and istioctl; None means PATH.
        charts: Local chart folders by chart name; empty means the chart repository.
        istio_version: The Istio version of the local charts.
        upgrades: What else the target brings, as it would be with another version of Istio.
        addons: Local manifests of Istio's sample add-ons, such as `prometheus`; empty means those
            that the parameters name.
    """

    name: str
    kubeconfig: Kubeconfig
    context: str
    server: str
    uid: str
    url: str
    production: bool
    allows: Capabilities
    tools: Path | None = None
    charts: Mapping[str, Path] = field(default_factory=dict)
    istio_version: str | None = None
    addons: Mapping[str, Path] = field(default_factory=dict)
    upgrades: Mapping[str, Target] = field(default_factory=dict)

    def at(self, version: str | None) -> Target:
        """Return the same cluster with the tools and charts of a version of Istio.

        Args:
            version: One that the target brings. Others come from PATH and the chart repository.
        """
        return self.upgrades.get(version or "", self)

    def verify_same(self, cluster: Identified) -> None:
        """Check that `cluster` is still the one that was pinned.

        Raises:
            TargetChanged: It is another one.
        """
        uid = cluster.uid()
        if uid != self.uid:
            raise TargetChanged(
                f"{self.name} (context {self.context}) was cluster {self.uid} and is now {uid}",
                "nothing was done; restart the notebook's kernel to work on the new cluster",
            )


def resolve(parameters: Parameters) -> Target:
    """Find the cluster that the parameters name, and ask for its UID.

    Raises:
        LabNotRunning: The lab is not up.
        ParameterError: The kubeconfig is unusable, or has no such context.
        ClusterUnreachable: The API server does not answer.
    """
    return _RESOLVERS[parameters.target.kind](parameters)


def lab_at(server: str) -> str | None:
    """Return the name of this machine's lab whose API server has a URL; None if there is none."""
    for name in lab_names():
        try:
            if _lab_state(name)["server"] == server:
                return name
        except LabNotRunning:
            continue
    return None


def _lab(parameters: Parameters) -> Target:
    name = parameters.target.lab
    state = _lab_state(name)
    kubeconfig, context = Kubeconfig.of(Path(state["kubeconfig"])), str(state["context"])
    first = Target(
        name=f"lab-{name}",
        kubeconfig=kubeconfig,
        context=context,
        server=state["server"],
        uid=_uid(kubeconfig, context),
        url=parameters.application.url or _site(state, parameters.application.namespace),
        production=parameters.target.production,
        allows=parameters.target.allows,
        **_brought(state, state["istio_version"]),
        addons={addon: Path(manifest) for addon, manifest in state.get("addons", {}).items()},
    )
    others = state.get("upgrades", {}).items()
    return replace(first, upgrades={v: replace(first, **_brought(each, v)) for v, each in others})


def _brought(state: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return what a lab brings with a version of Istio."""
    charts = {chart: Path(folder) for chart, folder in state["charts"].items()}
    return {"tools": Path(state["bin"]), "charts": charts, "istio_version": version}


def _lab_state(name: str) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(lab_state_file(name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        state = {}
    if state.get("state") != "ready":
        option = () if name == "default" else ("--name", name)
        raise LabNotRunning(
            f"lab {name!r} is not running",
            f"start it with: {command_line('lab', 'up', *option)}; for a cluster, name its "
            "parameters: --parameters FILE",
        )
    return state


def _site(state: Mapping[str, Any], namespace: str) -> str:
    """Where the lab's load balancer leads to the Ingress of a namespace."""
    sites: dict[str, str] = state.get("sites", {})
    if namespace not in sites:
        raise ParameterError(
            f"application.namespace: lab {state['name']!r} has no site in namespace {namespace!r}; "
            f"there are: {', '.join(sorted(sites)) or 'none'}",
            "apply an Ingress of class alb there, or choose one of these",
        )
    return sites[namespace]


def _cluster(parameters: Parameters) -> Target:
    desired = parameters.target
    context = desired.context or ""
    kubeconfig = Kubeconfig(desired.kubeconfigs)
    found = kubeconfig.context(context)
    return Target(
        name=found.cluster,
        kubeconfig=kubeconfig,
        context=context,
        server=found.server,
        uid=_uid(kubeconfig, context),
        url=parameters.application.url or "",
        production=desired.production,
        allows=desired.allows,
    )


_RESOLVERS = {"lab": _lab, "cluster": _cluster}


def _uid(kubeconfig: Kubeconfig, context: str) -> str:
    try:
        return Cluster(kubeconfig, context).uid()
    except ClusterRefused as error:
        if error.status != 403:
            raise
        grant = command_line("rights", "--role", "looking", "--parameters", "FILE")
        look = kubeconfig.kubectl(context, "auth", "can-i", "get", "namespaces/kube-system")
        raise ClusterRefused(
            f"{error.cause}. Every step needs this right, of the role looking: the UID of that "
            "namespace tells one cluster from another, and is compared before each change",
            f"have it granted: {grant} | kubectl apply --server-side --filename -; try it: {look}",
            status=error.status,
            reason=error.reason,
        ) from error
