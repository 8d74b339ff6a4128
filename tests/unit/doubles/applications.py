"""Applications as their manifests make them, for code that looks at a whole one."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import yaml

from runbook_lib.base.journal import Journal
from runbook_lib.base.locations import repository_root
from runbook_lib.cluster import Cluster, Kubeconfig, KubeContext, Object
from runbook_lib.lifecycle import Context
from runbook_lib.parameters.model import Parameters
from tests.unit.doubles.given_cluster import GivenCluster
from tests.unit.samples import PRODUCTION

MANIFESTS = repository_root() / "runbook_lib" / "lab" / "standins"

Change = Callable[[Object], Object | None]
"""Returns an object as it is to be, or None to leave it out."""


def objects(manifest: str = "application.yaml", change: Change = lambda item: item) -> list[Object]:
    """The objects of a manifest, which is shaped as the public chart makes it."""
    every = yaml.safe_load_all((MANIFESTS / manifest).read_text(encoding="utf-8"))
    found = (change(deepcopy(item)) for item in every if item)
    return [item for item in found if item is not None]


class _OneContext(Kubeconfig):
    """A kubeconfig that is not written anywhere."""

    def context(self, name: str) -> KubeContext:
        return KubeContext(name, PRODUCTION.name, PRODUCTION.server)


def on_cluster(*found: Object, namespace: str = "xnat") -> Context:
    """What `init` looks at: an unknown cluster with these objects, reached by a context."""
    given: dict[str, Any] = {
        "target": {"kind": "cluster", "context": "prod"},
        "application": {"namespace": namespace},
    }
    target = replace(PRODUCTION, url="", kubeconfig=_OneContext(PRODUCTION.kubeconfig.files))
    cluster = cast(Cluster, GivenCluster(*found))
    evidence = Journal(Path(os.devnull), run="init")
    return Context(Parameters.model_validate(given), target, cluster, evidence)
