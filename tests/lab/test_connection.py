"""Every way to an API server that kubectl takes, against a real one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base.command import run
from runbook_lib.base.errors import ClusterRefused, ClusterUnreachable
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.connection import Kubeconfig
from runbook_lib.lifecycle.target import resolve
from runbook_lib.tools import programs
from tests import socks
from tests.labs import Lab
from tests.unit.samples import CLUSTER, from_mapping

pytestmark = pytest.mark.lab

Write = Callable[..., Kubeconfig]
SELF = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


@pytest.fixture
def write(lab: Lab, tmp_path: Path) -> Write:
    """Writes the lab's kubeconfig in three files: contexts, clusters and users."""
    data = yaml.safe_load(Path(lab.state.kubeconfig).read_text())

    def files(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Any:
        (entry,), (login,) = data["clusters"], data["users"]
        sections: dict[str, Any] = {
            "contexts": data["contexts"],
            "clusters": [{**entry, "cluster": {**entry["cluster"], **(cluster or {})}}],
            "users": [{**login, "user": login["user"] if user is None else user}],
        }
        paths = []
        for section, entries in sections.items():
            paths.append(tmp_path / section)
            paths[-1].write_text(yaml.safe_dump({section: entries}))
        return Kubeconfig(tuple(paths))

    return files


@pytest.fixture
def tunnel() -> Iterator[socks.Proxy]:
    with socks.proxy() as server:
        yield server


def me(cluster: Cluster) -> dict[str, Any]:
    """Who the API server says we are."""
    path = f"/apis/{SELF['apiVersion']}/selfsubjectreviews"
    answer = cluster.dynamic.request("post", path, body=SELF, serialize=False)
    found: dict[str, Any] = json.loads(answer.data)["status"]["userInfo"]
    return found


def kubectl(lab: Lab, kubeconfig: Kubeconfig, *words: str) -> str:
    program = kubeconfig.calling(programs.find(Path(lab.state.bin)).kubectl)
    return run([*program, "--context", lab.state.context, *words], timeout=20).stdout


def test_context_cluster_and_user_in_three_files(
    lab: Lab, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = write()
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    cluster = {**CLUSTER, "target": {"kind": "cluster", "context": lab.state.context}}
    target = resolve(from_mapping(cluster))
    shown = kubectl(lab, target.kubeconfig, "get", "namespace", "kube-system", "--output=json")
    assert json.loads(shown)["metadata"]["uid"] == target.uid


def test_a_socks_proxy_and_a_name_that_only_it_knows(
    lab: Lab, write: Write, tunnel: socks.Proxy
) -> None:
    port = lab.state.server.rpartition(":")[2]
    kubeconfig = write(
        {
            "server": f"https://api.private.example.com:{port}",
            "proxy-url": tunnel.url,
            "tls-server-name": "127.0.0.1",
        }
    )
    cluster = Cluster(kubeconfig, lab.state.context)
    assert cluster.get("v1", "Namespace", "xnat")
    assert set(tunnel.asked) == {f"api.private.example.com:{port}"}
    before = len(tunnel.asked)
    assert "xnat" in kubectl(lab, kubeconfig, "get", "namespaces")
    assert len(tunnel.asked) > before


def test_a_user_who_is_taken_for_another(lab: Lab, write: Write) -> None:
    login = yaml.safe_load(Path(lab.state.kubeconfig).read_text())["users"][0]["user"]
    other = {"as": "ana", "as-groups": ["nurses", "editors"], "as-user-extra": {"a/b": ["c"]}}
    kubeconfig = write(user={**login, **other})
    cluster = Cluster(kubeconfig, lab.state.context)
    found = me(cluster)
    assert found["username"] == "ana"
    assert {"nurses", "editors"} <= set(found["groups"])
    assert found["extra"]["a/b"] == ["c"]
    assert (
        json.loads(kubectl(lab, kubeconfig, "auth", "whoami", "--output=json"))["status"][
            "userInfo"
        ]
        == found
    )
    with pytest.raises(ClusterRefused, match='User "ana" cannot'):
        cluster.list("v1", "Secret", "xnat")


def test_a_plugin_that_logs_in(lab: Lab, write: Write, tmp_path: Path) -> None:
    token = lab.run("kubectl", "--namespace", "default", "create", "token", "default").strip()
    version = "client.authentication.k8s.io/v1"
    answer = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
    script = tmp_path / "login"
    script.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    script.chmod(0o755)
    plugin = {"apiVersion": version, "command": "./login", "interactiveMode": "Never"}
    kubeconfig = write(user={"exec": plugin})
    assert me(Cluster(kubeconfig, lab.state.context))["username"] == (
        "system:serviceaccount:default:default"
    )
    assert "default:default" in kubectl(lab, kubeconfig, "auth", "whoami")
    script.write_text("#!/bin/sh\necho 'the session has expired' >&2\nexit 1\n")
    with pytest.raises(ClusterUnreachable, match="exit code 1: the session has expired"):
        Cluster(kubeconfig, lab.state.context).uid()


def test_a_user_without_credentials_is_not_told_to_ask_for_rights(lab: Lab, write: Write) -> None:
    cluster = Cluster(write(user={}), lab.state.context)
    with pytest.raises(ClusterRefused) as caught:
        cluster.list("v1", "Namespace")
    assert "nobody is logged in" in caught.value.remedy
