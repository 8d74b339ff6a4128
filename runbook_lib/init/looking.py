"""What there is in an application's namespace, read once; nothing is changed, no Secret is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runbook_lib.base import KindNotInstalled, ParameterError
from runbook_lib.cluster import Cluster, Kubeconfig, Object, labels_of, name_of
from runbook_lib.lifecycle import Context, target
from runbook_lib.mesh import templates
from runbook_lib.mesh.policy import serves, spec_of
from runbook_lib.mesh.templates import Template
from runbook_lib.parameters import Parameters
from runbook_lib.parameters.model import (
    ApplicationParameters,
    TargetParameters,
)

_DISCOVERY = "discovery.k8s.io/v1"
_SERVICE_NAME = "kubernetes.io/service-name"
"""The label by which an EndpointSlice names its Service."""

Key = tuple[str, str]
"""Kind and name of what keeps pods."""


def contexts() -> list[str]:
    """Return the contexts of $KUBECONFIG, or of the default kubeconfig, sorted.

    Raises:
        ParameterError: There is no kubeconfig, or one that is none.
    """
    return _kubeconfig().contexts


def namespaces(context: str) -> list[str]:
    """Return the namespaces that a context's cluster has, sorted.

    Args:
        context: One of `contexts`.

    Raises:
        ClusterUnreachable: The API server does not answer.
        ClusterRefused: It may not be asked for them.
    """
    cluster = Cluster(_kubeconfig(), context)
    return sorted(name_of(each) for each in cluster.list("v1", "Namespace"))


def _kubeconfig() -> Kubeconfig:
    return Kubeconfig(TargetParameters(kind="cluster").kubeconfigs)


@dataclass(frozen=True)
class Place:
    """Which application to look at.

    Attributes:
        namespace: Its namespace.
        context: The context of a kubeconfig; None for a lab.
        kubeconfig: That kubeconfig; None for $KUBECONFIG, or the default.
        lab: The lab; None for a cluster.
    """

    namespace: str
    context: str | None = None
    kubeconfig: Path | None = None
    lab: str | None = None

    def connect(self) -> Context:
        """Find the cluster, and return what it takes to look at it.

        A context that leads to a lab of this machine is looked at as that lab.

        Raises:
            ParameterError: The kubeconfig is unusable, or has no such context.
            LabNotRunning: The lab is not up.
            ClusterUnreachable: The API server does not answer.
        """
        parameters = Parameters(
            target=self._target, application=ApplicationParameters(namespace=self.namespace)
        )
        found = target.resolve(parameters)
        if self.lab is None and (lab := target.lab_at(found.server)) is not None:
            return Place(self.namespace, lab=lab).connect()
        return Context.unrecorded(parameters, found, "init")

    @property
    def _target(self) -> TargetParameters:
        if self.lab is not None:
            return TargetParameters(kind="lab", lab=self.lab, production=False)
        return TargetParameters(kind="cluster", context=self.context, kubeconfig=self.kubeconfig)


@dataclass(frozen=True)
class Facts:
    """The application as it is.

    Attributes:
        context: Where it was looked up.
        templates: What its pods are made of that are to get sidecars, by what keeps them.
        services: The Services of its namespace.
        slices: Their EndpointSlices.
        config: The ConfigMaps of its namespace, by name.
    """

    context: Context
    templates: dict[Key, Template]
    services: tuple[Object, ...] = ()
    slices: tuple[Object, ...] = ()
    config: dict[str, Object] = field(default_factory=dict)

    @classmethod
    def look(cls, context: Context) -> Facts:
        """Read the namespace from the cluster.

        Raises:
            ParameterError: There is no such namespace.
        """
        namespace = context.parameters.application.namespace
        if context.cluster.get("v1", "Namespace", namespace) is None:
            raise ParameterError(
                f"{context.target.name} has no namespace {namespace}",
                "choose one of: kubectl get namespaces",
            )
        return cls(
            context,
            {each.place: each for each in templates.meshed(context)},
            tuple(_list(context, "v1", "Service", namespace)),
            tuple(_list(context, _DISCOVERY, "EndpointSlice", namespace)),
            {name_of(each): each for each in _list(context, "v1", "ConfigMap", namespace)},
        )

    def behind(self, service: Object) -> Iterator[tuple[Key, Template]]:
        """Yield what a Service leads to: by its selector, or by the addresses it was given."""
        addresses = set(self.addresses(service))
        for key, made in self.templates.items():
            own = {(pod.get("status") or {}).get("podIP") for pod in made.live}
            if serves(service, made.pod) or own & addresses:
                yield key, made

    def addresses(self, service: Object) -> Iterator[str]:
        """Yield the addresses that a Service's EndpointSlices lead to."""
        for each in self.slices:
            if labels_of(each).get(_SERVICE_NAME) == name_of(service):
                for endpoint in each.get("endpoints") or []:
                    yield from endpoint["addresses"]

    def outside(self, service: Object) -> str:
        """Say where a Service leads that has no pods of this namespace behind it.

        Returns:
            Its addresses or external name; empty if it selects pods, or leads to some.
        """
        spec = spec_of(service)
        if spec.get("type") == "ExternalName":
            return str(spec.get("externalName"))
        if spec.get("selector") or any(self.behind(service)):
            return ""
        return ", ".join(self.addresses(service)) or "no address so far"


def text_of(key: Key) -> str:
    """Name what keeps pods as the parameters do: `Kind/name`."""
    return "/".join(key)


def _list(context: Context, version: str, kind: str, namespace: str) -> list[Object]:
    try:
        return context.cluster.list(version, kind, namespace)
    except KindNotInstalled:
        return []
