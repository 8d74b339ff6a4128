"""Sidecars of before an upgrade of istiod: a restart of their workloads is offered."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from runbook_lib.base.errors import ClusterRefused
from runbook_lib.chapters.shared.preflight.workloads.listed import Listed, outdated
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.context import Context
from runbook_lib.mesh.injection import sidecar_image_for
from tests.unit.doubles.given_cluster import GivenCluster, context, pod, web_workload

INJECTOR: Object = {
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": "istio-sidecar-injector", "labels": {"istio.io/rev": "default"}},
    "webhooks": [{"name": "namespace.sidecar-injector.istio.io"}],
}


def with_image(image: str) -> Object:
    item = copy.deepcopy(pod())
    item["spec"]["containers"][-1]["image"] = image
    return item


class Injecting(GivenCluster):
    """A cluster that answers a dry run with a sidecar of 1.32, or refuses it."""

    refuses = False

    def apply(self, _pod: Object, **_options: Any) -> Object:
        if self.refuses:
            raise ClusterRefused("no room", status=403, reason="Forbidden")
        return with_image("proxyv2:1.32")


def look(folder: Path, *, refuses: bool = False, injector: bool = True) -> Context:
    cluster = Injecting(*([INJECTOR] if injector else []))
    cluster.refuses = refuses
    return replace(context(folder), cluster=cast(Cluster, cluster))


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("proxyv2:1.31", {"xnat-xnat-web-0": "proxyv2:1.31, and a new one proxyv2:1.32"}),
        ("proxyv2:1.32", {}),
    ],
)
def test_a_sidecar_that_a_new_pod_would_not_get_is_outdated(
    tmp_path: Path, image: str, found: dict[str, str]
) -> None:
    each = Listed(web_workload(), (with_image(image), pod(sidecar=False)))
    assert outdated(each, partial(sidecar_image_for, look(tmp_path))) == found


@pytest.mark.parametrize("more", [{"refuses": True}, {"injector": False}])
def test_nothing_is_said_where_istiod_cannot_be_asked(
    tmp_path: Path, more: dict[str, bool]
) -> None:
    each = Listed(web_workload(), (with_image("proxyv2:1.31"),))
    assert outdated(each, partial(sidecar_image_for, look(tmp_path, **more))) == {}
