"""Every way to an API server that kubectl takes, and what can go wrong on it, with a real one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base.command import run
from runbook_lib.base.errors import ClusterRefused, ClusterUnreachable, CommandError
from runbook_lib.base.wait import State
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.connection import Kubeconfig
from runbook_lib.lifecycle.target import resolve
from runbook_lib.tools import programs
from runbook_lib.tools.helm import Helm
from tests import socks
from tests.labs import Lab
from tests.outages import api
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


@pytest.fixture
def way(lab: Lab, tmp_path: Path) -> Iterator[tuple[api.Proxy, Cluster]]:
    """A cluster behind a proxy that spoils requests."""
    with api.proxy(Path(lab.state.kubeconfig), tmp_path) as (server, path):
        yield server, Cluster(Kubeconfig.of(path), lab.state.context)


Way = tuple[api.Proxy, Cluster]
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "spoilt", "namespace": "default"},
    "data": {"a": "b"},
}


def only(method: str) -> Callable[[api.Request], bool]:
    return lambda request: request.method == method and "configmaps" in request.path


@pytest.fixture
def config(lab: Lab) -> Iterator[dict[str, Any]]:
    """A ConfigMap that is not there, before and after."""
    yield CONFIG
    lab.run("kubectl", "--namespace", "default", "delete", "configmap", "spoilt", check=False)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_request_is_repeated_when_the_server_says_when(
    way: Way, config: dict[str, Any], method: str, status: int
) -> None:
    server, cluster = way
    with server.spoilt(where=only(method), status=status, retry_after=1) as fault:
        made = cluster.create(config) if method == "POST" else cluster.apply(config)
    assert len(fault.hits) == 1
    assert made["data"] == config["data"]


def test_an_error_of_the_server_is_told_at_once_and_a_change_is_not_repeated(
    way: Way, config: dict[str, Any]
) -> None:
    server, cluster = way
    with (
        server.spoilt(where=only("PATCH"), times=9, status=500) as fault,
        pytest.raises(ClusterRefused, match=r"500 .*spoilt on the way") as caught,
    ):
        cluster.apply(config)
    assert len(fault.hits) == 1
    assert "running again is safe" in caught.value.remedy


def test_an_apply_whose_answer_is_lost_is_asked_for_again_and_was_done_once(
    way: Way, config: dict[str, Any]
) -> None:
    server, cluster = way
    with server.spoilt(where=only("PATCH"), cut=api.Cut.AFTER) as fault:
        made = cluster.apply(config)
    assert len(fault.hits) == 1
    assert len(made["metadata"]["managedFields"]) == 1
    assert (
        cluster.apply(config)["metadata"]["resourceVersion"]
        == (made["metadata"]["resourceVersion"])
    )


@pytest.mark.parametrize(("cut", "there"), [(api.Cut.AFTER, True), (api.Cut.BEFORE, False)])
def test_a_create_without_an_answer_is_not_repeated_and_looking_tells_whether_it_was_done(
    way: Way, config: dict[str, Any], cut: api.Cut, there: bool
) -> None:
    server, cluster = way
    with (
        server.spoilt(where=only("POST"), times=9, cut=cut) as fault,
        pytest.raises(ClusterUnreachable, match="no answer from the API server"),
    ):
        cluster.create(config)
    assert len(fault.hits) == 1
    assert (cluster.get("v1", "ConfigMap", "spoilt", "default") is not None) is there


@pytest.mark.parametrize("cut", list(api.Cut))
def test_a_look_is_repeated_wherever_its_answer_is_cut(way: Way, cut: api.Cut) -> None:
    server, cluster = way
    with server.spoilt(cut=cut, where=lambda r: r.path.endswith("/kube-system")) as fault:
        assert cluster.uid()
    assert len(fault.hits) == 1


def test_a_server_that_never_answers_is_given_up_in_bounded_time(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, cluster = way
    assert cluster.uid()
    monkeypatch.setattr("runbook_lib.cluster.client.REQUEST_TIMEOUT", (1.0, 0.2))
    started = time.monotonic()
    with (
        server.spoilt(times=9, seconds=1.5) as fault,
        pytest.raises(ClusterUnreachable, match="no answer from the API server"),
    ):
        cluster.uid()
    assert len(fault.hits) == 3
    assert time.monotonic() - started < 5


def test_a_watch_that_is_cut_goes_on(way: Way, config: dict[str, Any], lab: Lab) -> None:
    server, cluster = way
    seen: list[int] = []

    def observe(found: list[dict[str, Any]]) -> State:
        seen.append(len(found))
        if len(seen) == 1:
            lab.run("kubectl", "create", "--filename=-", stdin=json.dumps(config))
        return State(bool(found), f"{len(found)} of them")

    with server.spoilt(where=lambda r: "watch=" in r.path, times=2, cut=api.Cut.MIDDLE):
        what = ("the object", "v1", "ConfigMap", "default", observe)
        cluster.watch_until(*what, name="spoilt", timeout=20)


def test_a_token_that_expires_is_asked_for_again_where_something_can_be_asked(
    lab: Lab, tmp_path: Path
) -> None:
    version = "client.authentication.k8s.io/v1"
    answer = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": "first-token"}}
    script = tmp_path / "login"
    script.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    script.chmod(0o755)
    with api.proxy(Path(lab.state.kubeconfig), tmp_path) as (server, path):
        data = yaml.safe_load(path.read_text())

        def connected(user: dict[str, Any]) -> Cluster:
            data["users"][0]["user"] = user
            path.write_text(yaml.safe_dump(data))
            return Cluster(Kubeconfig.of(path), lab.state.context)

        plugin = {"apiVersion": version, "command": str(script), "interactiveMode": "Never"}
        by_plugin = connected({"exec": plugin})
        assert by_plugin.uid()
        with server.spoilt(where=lambda r: r.token == "first-token", times=99, status=401):
            script.write_text(script.read_text().replace("first", "second"))
            assert by_plugin.uid()
            by_hand = connected({"token": "first-token"})
            with pytest.raises(ClusterUnreachable, match="does not accept the credentials"):
                by_hand.uid()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 503}, "the API server did not answer"),
        ({"status": 401}, "does not accept the credentials"),
    ],
    ids=["503", "401"],
)
def test_helm_that_meets_the_same_is_explained(
    lab: Lab, way: Way, fault: dict[str, Any], words: str
) -> None:
    server, cluster = way
    program = programs.find(Path(lab.state.bin)).helm
    helm = Helm(program, kubeconfig=cluster.kubeconfig, context=cluster.context)
    assert helm.history("nothing", namespace="default") == []
    with server.spoilt(times=99, **fault), pytest.raises(CommandError) as caught:
        helm.history("nothing", namespace="default")
    assert words in caught.value.remedy
