"""A caller can do no harm: nothing selects it, it holds nothing, and it goes away by itself."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from runbook_lib.mesh.callers import Asker, Endpoint, Speaks, job
from runbook_lib.mesh.links import End

WEB = Endpoint(End("web", sidecars=True), "web", "web.xnat.svc.cluster.local", 80, Speaks.HTTP)
LIKE = {
    "spec": {
        "nodeName": "node-1",
        "imagePullSecrets": [{"name": "registry"}],
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "containers": [{"name": "web", "image": "web:1"}],
        "initContainers": [{"name": "istio-proxy", "image": "hub/proxyv2:1.31.1"}],
    }
}


def made(caller: Asker, revision: str = "default") -> tuple[dict[str, Any], dict[str, Any]]:
    """Its Job, and the pod that this makes."""
    manifest = job(caller, [WEB], LIKE, seconds=180, revision=revision)
    return manifest, manifest["spec"]["template"]


def test_kubernetes_removes_it_whatever_becomes_of_the_runbook() -> None:
    spec = made(Asker("xnat"))[0]["spec"]
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (180, 0)
    assert spec["backoffLimit"] == 0


@pytest.mark.parametrize("sidecar", [True, False])
def test_no_label_is_one_by_which_anything_selects(sidecar: bool) -> None:
    labels = made(Asker("xnat", sidecar=sidecar))[1]["metadata"]["labels"]
    assert set(labels) == {"istio-runbook/caller", "sidecar.istio.io/inject"}
    assert labels["sidecar.istio.io/inject"] == str(sidecar).lower()


def test_a_revision_that_has_a_name_injects_it() -> None:
    assert made(Asker("xnat"), "canary")[1]["metadata"]["labels"]["istio.io/rev"] == "canary"
    without = made(Asker("xnat", sidecar=False), "canary")[1]["metadata"]["labels"]
    assert "istio.io/rev" not in without


def test_it_mounts_nothing_and_runs_the_sidecars_image_without_rights() -> None:
    pod = made(Asker("xnat", "importer"))[1]["spec"]
    (container,) = pod["containers"]
    assert "volumes" not in pod
    assert pod["automountServiceAccountToken"] is False
    assert container["image"] == "hub/proxyv2:1.31.1"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
    assert pod["serviceAccountName"] == "importer"
    security = container["securityContext"]
    assert security["runAsUser"] != 1337  # what the sidecar's user sends is not captured
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_only_its_own_loopback_leads_through_it() -> None:
    (container,) = made(Asker("xnat"))[1]["spec"]["containers"]
    configuration = yaml.safe_load(container["args"][-1])["static_resources"]
    addresses = [each["address"]["socket_address"] for each in configuration["listeners"]]
    assert addresses == [{"address": "127.0.0.1", "port_value": 18001}]


@pytest.mark.parametrize(
    ("caller", "name", "principal"),
    [
        (
            Asker("xnat", "xnat.importer"),
            "istio-runbook-caller-as-xnat-importer",
            "cluster.local/ns/xnat/sa/xnat.importer",
        ),
        (Asker("xnat", sidecar=False), "istio-runbook-caller-without-sidecar", ""),
        (Asker("x", "a" * 100), f"istio-runbook-caller-as-{'a' * 30}", None),
    ],
)
def test_its_name_says_as_whom_it_calls(caller: Asker, name: str, principal: str | None) -> None:
    assert caller.job == name
    assert principal is None or caller.principal == principal
