from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runbook_lib.chapters.shared.preflight import upgrades
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.context import Context
from runbook_lib.tools.istioctl import Message
from runbook_lib.tools.programs import Tools
from tests.unit.doubles import given_cluster


def istiod(image: str, release: str = "istiod") -> Object:
    annotations = {
        "meta.helm.sh/release-name": release,
        "meta.helm.sh/release-namespace": "istio-system",
    }
    labels = {"app": "istiod", "app.kubernetes.io/managed-by": "Helm"}
    containers = [{"name": "discovery", "image": image}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "istiod",
            "namespace": "istio-system",
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def context(
    monkeypatch: pytest.MonkeyPatch, *objects: Object, desired: str = "1.31.1", client: str = ""
) -> Context:
    found = {"istioctl": client or desired}
    monkeypatch.setattr(Tools, "versions_of", lambda *_: found)
    where = given_cluster.context(Path("/nowhere"), *objects)
    where = replace(where, target=replace(where.target, istio_version=desired))
    where.__dict__["tools"] = Tools(Path("/bin/kubectl"), Path("/bin/helm"), Path("/bin/istioctl"))
    return where


def test_the_istioctl_of_the_version_to_install_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(upgrades.versions(context(monkeypatch))) == []


def test_another_istioctl_refuses_and_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = upgrades.versions(context(monkeypatch, client="1.30.2"))
    assert found.refuses
    assert found.text.startswith("/bin/istioctl: it is version 1.30.2, and 1.31.1 is to be inst")
    assert "download/1.31.1/istioctl-1.31.1-" in found.remedy


@pytest.mark.parametrize("tag", ["1.31.0", "1.30.4", "1.30.4-distroless", "1.32.0", "latest"])
def test_one_minor_version_is_a_step(monkeypatch: pytest.MonkeyPatch, tag: str) -> None:
    running = istiod(f"registry.istio.io/release/pilot:{tag}")
    assert list(upgrades.versions(context(monkeypatch, running))) == []


@pytest.mark.parametrize(
    ("tag", "next_one"),
    [("1.28.1", "1.29"), ("1.29.9-distroless", "1.30"), ("1.28.1@sha256:0123", "1.29")],
)
def test_more_than_one_minor_version_is_refused_with_the_next_one(
    monkeypatch: pytest.MonkeyPatch, tag: str, next_one: str
) -> None:
    running = istiod(f"registry.example.com:5000/pilot:{tag}")
    (found,) = upgrades.versions(context(monkeypatch, running))
    assert found.refuses
    assert found.where == "Deployment istio-system/istiod"
    assert f"first to {next_one}" in found.remedy
    assert found.parameter == f"istio.version: {next_one}.x"


def test_an_istiod_of_others_is_not_upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    running = istiod("pilot:1.28.1", release="theirs")
    assert list(upgrades.versions(context(monkeypatch, running))) == []


def test_errors_of_precheck_refuse_and_what_is_less_does_not() -> None:
    messages = [
        Message("IST0001", "Error", "Namespace istio-system", "the API server is too old"),
        Message("IST0002", "Warning", "x", "old"),
        Message("IST0141", "Error", "Cluster", "Missing required permission to create namespaces"),
    ]
    istioctl: Any = SimpleNamespace(precheck=lambda: messages)
    (found,) = upgrades.precheck(cast("Context", SimpleNamespace(istioctl=istioctl)))
    assert found.refuses
    assert found.found == "Namespace istio-system: IST0001: the API server is too old"


def skew(
    monkeypatch: pytest.MonkeyPatch, client: str, server: str = "v1.33.4-eks-1234567"
) -> list[Any]:
    monkeypatch.setattr(Tools, "versions_of", lambda *_: {"kubectl": client})
    where = given_cluster.context(Path("/nowhere"))
    where.__dict__["tools"] = Tools(Path("/bin/kubectl"), Path("/bin/helm"), Path("/bin/istioctl"))
    monkeypatch.setattr(where.cluster, "server_version", lambda: server, raising=False)
    return list(upgrades.kubectl_skew(where))


@pytest.mark.parametrize("client", ["v1.32.9", "v1.33.0", "v1.34.1", "unknown"])
def test_a_kubectl_within_one_minor_version_is_supported(
    monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    assert skew(monkeypatch, client) == []


@pytest.mark.parametrize("client", ["v1.31.12", "v1.35.0"])
def test_another_kubectl_is_told_in_the_words_of_kubernetes_and_fetched_with_its_checksum(
    monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    (found,) = skew(monkeypatch, client)
    assert not found.refuses
    assert "supported within one minor version (older or newer) of kube-apiserver" in found.what
    assert "/release/v1.33.4/bin/" in found.remedy
    assert "kubectl.sha256" in found.remedy
