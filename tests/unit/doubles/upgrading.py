"""A control plane to be upgraded, and an istioctl that says what it knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from runbook_lib.base.errors import CommandError
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.context import Context
from runbook_lib.tools import ConnectedProxy
from tests.unit.doubles import given_cluster

ISTIOD: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "istiod",
        "namespace": "istio-system",
        "labels": {"app": "istiod", "istio.io/rev": "default"},
        "annotations": {
            "meta.helm.sh/release-name": "istiod",
            "meta.helm.sh/release-namespace": "istio-system",
        },
    },
}


class Istioctl:
    """An istiod that reports a version, and has these proxies."""

    def __init__(self, version: str | None, proxies: dict[str, str] | None) -> None:
        self._version, self._proxies = version, proxies

    def version(self, _revision: str) -> Any:
        return SimpleNamespace(control_plane=self._version)

    def proxies(self, _revision: str) -> list[ConnectedProxy]:
        if self._proxies is None:
            raise CommandError(["istioctl"], 1, "", "no running Istio pods")
        return [ConnectedProxy(pod, version, "istiod-1") for pod, version in self._proxies.items()]


@dataclass(frozen=True)
class Given:
    """A control plane, and what its cluster runs."""

    version: str | None = "1.30.2"
    proxies: dict[str, str] | None = field(default_factory=dict)
    kubernetes: str = "v1.34.1"
    objects: tuple[Object, ...] = (ISTIOD,)

    def context(self, folder: Path, **upgrade: str | None) -> Context:
        """What steps work with, on a cluster that brings no Istio of its own."""
        given = given_cluster.context(folder, *self.objects, upgrade=upgrade)
        given = replace(given, target=replace(given.target, istio_version=None))
        cast("Any", given.cluster).server_version = lambda: self.kubernetes
        given.__dict__["istioctl"] = Istioctl(self.version, self.proxies)
        return given
