from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import (
    ClusterRefused,
    ClusterUnreachable,
    LabNotRunning,
    ParameterError,
    TargetChanged,
)
from runbook_lib.base.locations import lab_state_file
from runbook_lib.cluster.connection import Kubeconfig
from runbook_lib.lifecycle import target
from runbook_lib.parameters import loading as parameters
from tests.unit.samples import CLUSTER, PRODUCTION, from_mapping

KUBECONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "eks-1", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "me", "user": {"token": "abcdefghij"}}],
    "contexts": [{"name": "staging", "context": {"cluster": "eks-1", "user": "me"}}],
}
URL = "https://xnat.example.com"


def kubeconfig(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**KUBECONFIG, **changes}))
    return path


def cluster_parameters(path: Path, context: str = "staging") -> parameters.Parameters:
    target = {"kind": "cluster", "kubeconfig": str(path), "context": context}
    return from_mapping({**CLUSTER, "target": target})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def uid(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(target, "_uid", lambda *_: "uid-1")
    return "uid-1"


def write_lab(name: str, **changes: Any) -> None:
    state = {
        "name": name,
        "state": "ready",
        "kubeconfig": "/lab/kubeconfig",
        "context": f"lab-{name}",
        "server": "https://127.0.0.1:7443",
        "url": "http://127.0.0.1:7080",
        "sites": {"xnat": "http://127.0.0.1:7080", "portal": "http://127.0.0.1:7081"},
        "bin": "/lab/bin",
        "charts": {"base": "/charts/base", "istiod": "/charts/istiod"},
        "addons": {"jaeger": "/samples/addons/jaeger.yaml"},
        "istio_version": "1.31.0",
        "pid": 1,
        **changes,
    }
    path = lab_state_file(name)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(state))


def test_a_lab_describes_itself(uid: str) -> None:
    write_lab("default")
    found = target.resolve(from_mapping({}))
    assert (found.name, found.uid) == ("lab-default", uid)
    assert found.allows.approves_by_itself
    assert (found.url, found.production) == ("http://127.0.0.1:7080", False)
    assert found.charts["istiod"] == Path("/charts/istiod")
    assert found.addons["jaeger"] == Path("/samples/addons/jaeger.yaml")
    assert found.tools == Path("/lab/bin")


@pytest.mark.usefixtures("uid")
def test_a_lab_has_a_site_in_each_namespace_with_an_ingress() -> None:
    write_lab("default")
    other = from_mapping({"application": {"namespace": "portal"}})
    assert target.resolve(other).url == "http://127.0.0.1:7081"
    none = from_mapping({"application": {"namespace": "shop"}})
    with pytest.raises(
        ParameterError, match="no site in namespace 'shop'; there are: portal, xnat"
    ):
        target.resolve(none)


@pytest.mark.usefixtures("uid")
def test_a_url_that_is_given_wins_over_the_labs_own() -> None:
    write_lab("default")
    given = from_mapping({"application": {"url": "https://localhost:7443"}})
    assert target.resolve(given).url == "https://localhost:7443"


@pytest.mark.parametrize("state", ["starting", "failed"])
def test_a_lab_that_is_not_ready_is_not_running(state: str) -> None:
    write_lab("default", state=state)
    with pytest.raises(LabNotRunning, match="lab 'default' is not running"):
        target.resolve(from_mapping({}))


def test_a_lab_that_is_not_there_says_how_to_start_it_by_name() -> None:
    with pytest.raises(LabNotRunning, match="python -m runbook_lib lab up --name two"):
        target.resolve(from_mapping({"target": {"lab": "two"}}))


def test_a_cluster_is_named_after_its_context(tmp_path: Path, uid: str) -> None:
    found = target.resolve(cluster_parameters(kubeconfig(tmp_path / "k")))
    assert (found.name, found.context, found.uid) == ("eks-1", "staging", uid)
    assert (found.server, found.url) == ("https://127.0.0.1:1", URL)
    assert found.production
    assert not found.allows.approves_by_itself


def test_an_unknown_context_lists_those_there_are(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "k")
    with pytest.raises(ParameterError, match=r"no context 'prod'; there are: staging"):
        target.resolve(cluster_parameters(path, "prod"))


@pytest.mark.usefixtures("uid")
def test_every_listed_kubeconfig_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = kubeconfig(tmp_path / "a", contexts=[]), kubeconfig(tmp_path / "b")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    assert target.resolve(from_mapping(CLUSTER)).kubeconfig == Kubeconfig.of(first, second)


def test_an_api_server_that_is_not_there_says_so_and_keeps_the_token(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "k")
    with pytest.raises(ClusterUnreachable) as caught:
        target.resolve(cluster_parameters(path))
    assert "Connection refused" in caught.value.cause
    assert f"kubectl --kubeconfig {path} --context staging" in caught.value.remedy
    assert "abcdefghij" not in str(caught.value)


class Identity:
    """A cluster of which only the UID is known."""

    def __init__(self, uid: str) -> None:
        self._uid = uid

    def uid(self) -> str:
        return self._uid


def test_another_cluster_behind_the_same_context_is_noticed() -> None:
    pinned = replace(PRODUCTION, uid="uid-1")
    pinned.verify_same(Identity("uid-1"))
    with pytest.raises(TargetChanged, match="was cluster uid-1 and is now uid-2"):
        pinned.verify_same(Identity("uid-2"))


def test_an_account_that_may_not_be_told_the_clusters_identity_learns_who_needs_it_and_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_cluster: object) -> str:
        raise ClusterRefused(
            "get Namespace kube-system: 403 Forbidden: no", "ask", status=403, reason="Forbidden"
        )

    monkeypatch.setattr(target.Cluster, "uid", forbidden)
    path = kubeconfig(tmp_path / "config")
    with pytest.raises(ClusterRefused, match="Every step needs this right") as refused:
        target.resolve(cluster_parameters(path))
    assert "403 Forbidden" in refused.value.cause
    assert "rights --role looking" in refused.value.remedy
    assert f"--kubeconfig {path} --context staging auth can-i get" in refused.value.remedy


@pytest.mark.usefixtures("uid")
def test_a_lab_brings_the_version_that_istio_can_be_upgraded_to() -> None:
    newer = {"bin": "/newer/bin", "charts": {"base": "/newer/base"}}
    write_lab("default", upgrades={"1.32.0": newer})
    found = target.resolve(from_mapping({}))
    assert found.at("1.31.0") is found.at(None) is found
    upgraded = found.at("1.32.0")
    assert (upgraded.tools, upgraded.istio_version) == (Path("/newer/bin"), "1.32.0")
    assert upgraded.charts == {"base": Path("/newer/base")}
    assert (upgraded.uid, upgraded.addons) == (found.uid, found.addons)
