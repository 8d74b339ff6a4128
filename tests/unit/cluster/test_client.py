from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from runbook_lib.base.errors import ClusterRefused, ClusterUnreachable, KindNotInstalled
from runbook_lib.cluster.client import Cluster, conflict
from runbook_lib.cluster.connection import Kubeconfig
from runbook_lib.cluster.events import KubeEvent
from runbook_lib.cluster.kinds import Kinds
from runbook_lib.cluster.objects import Object, ref
from runbook_lib.cluster.watch import Watched, selectors


def refusal(status: int, body: dict[str, Any]) -> ClusterRefused:
    try:
        try:
            raise ApiException(status=status, reason="x", body=json.dumps(body))
        except ApiException as error:
            raise ClusterRefused("x", status=status, reason="x") from error
    except ClusterRefused as error:
        return error


def cause(manager: str, field: str) -> dict[str, str]:
    return {
        "reason": "FieldManagerConflict",
        "message": f'conflict with "{manager}" using v1 at 2026-01-01T00:00:00Z',
        "field": field,
    }


def test_importing_the_library_does_not_import_kubernetes() -> None:
    code = (
        "import sys; from runbook_lib.cluster import client, pods;"
        "from runbook_lib.lifecycle import target; from runbook_lib.tools import helm, istioctl;"
        "print('kubernetes' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "False\n"


def test_a_conflict_names_managers_and_fields() -> None:
    error = refusal(
        409,
        {
            "details": {
                "causes": [
                    cause("kubectl-client-side-apply", ".spec.mtls.mode"),
                    cause("helm", ".metadata.labels.app"),
                    cause("helm", ".data.k"),
                ]
            }
        },
    )
    found = conflict("PeerAuthentication xnat/default", error)
    assert found is not None
    assert found.managers == ("helm", "kubectl-client-side-apply")
    assert found.fields == (".spec.mtls.mode", ".metadata.labels.app", ".data.k")
    assert "PeerAuthentication xnat/default: helm, kubectl-client-side-apply manage" in found.cause


@pytest.mark.parametrize(
    "error", [refusal(409, {"reason": "AlreadyExists"}), refusal(422, {}), refusal(409, {})]
)
def test_other_refusals_are_no_conflicts(error: ClusterRefused) -> None:
    assert conflict("x", error) is None


def test_an_event_shows_how_often_it_happened() -> None:
    again = {"reason": "BackOff", "message": "again"}
    assert str(KubeEvent.of({**again, "count": 7})) == "BackOff: again (x7)"
    assert str(KubeEvent.of({**again, "series": {"count": 2}})) == "BackOff: again (x2)"
    assert str(KubeEvent.of(again)) == "BackOff: again"


def test_a_reference_leaves_out_a_namespace_that_there_is_not() -> None:
    assert ref("Pod", "web-0", "xnat") == "Pod xnat/web-0"
    assert ref("Namespace", "xnat") == "Namespace xnat"


def test_selectors_are_in_the_form_of_the_api() -> None:
    assert selectors(labels={"app": "web", "tier": "x"}, name="web-0") == {
        "label_selector": "app=web,tier=x",
        "field_selector": "metadata.name=web-0",
    }
    assert selectors(labels=None, name=None) == {}


class Discovery:
    """An API server that knows how to list its kinds, and whose kinds can grow."""

    def __init__(self) -> None:
        self.served: dict[str, list[dict[str, Any]]] = {
            "/api/v1": [
                {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["get"]},
                {"name": "pods/log", "kind": "Pod", "namespaced": True, "verbs": ["get"]},
            ]
        }
        self.asked: list[str] = []

    def request(self, _method: str, path: str, **_options: Any) -> dict[str, Any]:
        self.asked.append(path)
        if path not in self.served:
            raise ApiException(status=404, reason="Not Found")
        return {"resources": self.served[path]}


def test_a_kind_is_looked_up_once() -> None:
    server = Discovery()
    kinds = Kinds(cast("DynamicClient", server))
    first = kinds.get(api_version="v1", kind="Pod")
    assert kinds.get(api_version="v1", kind="Pod") is first
    assert first.path(name="a", namespace="b") == "/api/v1/namespaces/b/pods/a"
    assert server.asked == ["/api/v1"]


def test_a_kind_that_was_missing_is_found_once_it_is_installed() -> None:
    server = Discovery()
    kinds = Kinds(cast("DynamicClient", server))
    wanted = {"api_version": "security.istio.io/v1", "kind": "PeerAuthentication"}
    with pytest.raises(KindNotInstalled):
        kinds.get(**wanted)
    server.served["/apis/security.istio.io/v1"] = []
    with pytest.raises(KindNotInstalled):
        kinds.get(**wanted)
    server.served["/apis/security.istio.io/v1"] = [
        {
            "name": "peerauthentications",
            "kind": "PeerAuthentication",
            "namespaced": True,
            "verbs": ["get"],
        }
    ]
    assert kinds.get(**wanted).path(namespace="x").endswith("/namespaces/x/peerauthentications")


class Refusing:
    """An API server that shows ConfigMaps alone: it keeps Secrets back, and one API is dead."""

    refusals: ClassVar = {"Secret": 403, "Broken": 500, "Vanished": 404}

    def versions(self) -> list[str]:
        return ["v1", "dead.example.com/v1"]

    def stored(self, version: str) -> list[SimpleNamespace]:
        if version != "v1":
            raise ApiException(status=503, reason="Service Unavailable")
        kinds = ["ConfigMap", *self.refusals]
        return [SimpleNamespace(kind=kind, namespaced=True) for kind in kinds]

    def get(self, *, kind: str, api_version: str) -> SimpleNamespace:
        assert api_version == "v1"

        def answer(**_options: Any) -> dict[str, Any]:
            if kind in self.refusals:
                raise ApiException(status=self.refusals[kind], reason="x")
            return {"items": [{"metadata": {"name": "a"}}], "metadata": {}}

        return SimpleNamespace(get=answer)


def refusing() -> Cluster:
    cluster = Cluster(Kubeconfig.of(Path("/k")), "x")
    cluster.__dict__["dynamic"] = SimpleNamespace(resources=Refusing())
    return cluster


def test_what_could_not_be_read_is_named_and_stops_nothing() -> None:
    found = refusing().everything("default")
    assert [item["kind"] for item in found.objects] == ["ConfigMap"]
    assert {name: error.status for name, error in found.unread.items()} == {
        "Secret (v1)": 403,
        "Broken (v1)": 500,
        "all kinds of dead.example.com/v1": 503,
    }


def config(uid: str, version: str, **fields: Any) -> Object:
    return {"metadata": {"uid": uid, "resourceVersion": version}, **fields}


class Server:
    """Lists and watches from a script; a watch is a list of lines or an error."""

    kubeconfig = Kubeconfig.of(Path("kubeconfig"))
    context = "context"

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self.lists = lists
        self.watches = watches
        self.watched_from: list[str] = []
        self.dynamic = SimpleNamespace(
            resources=SimpleNamespace(get=lambda **_: SimpleNamespace(get=self.watch))
        )

    def list_with_version(self, *_arguments: object) -> tuple[list[Object], str]:
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, "10"

    def watch(self, *, resource_version: str, **_options: Any) -> SimpleNamespace:
        self.watched_from.append(resource_version)
        chunks = self.watches.pop(0)
        if isinstance(chunks, Exception):
            raise chunks
        return SimpleNamespace(stream=lambda **_: iter(chunks), close=lambda: None)


def line(kind: str, item: Object) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def watched(server: Server) -> Watched:
    return Watched(cast("Cluster", server), "v1", "ConfigMap", "default")


def test_a_watch_continues_from_the_list_and_takes_every_kind_of_event() -> None:
    added, modified = config("b", "11"), config("b", "12", data=1)
    both = line("ADDED", added) + line("MODIFIED", modified)
    server = Server(
        [[config("a", "1")]], [[both[:30], both[30:], line("DELETED", config("a", "13"))]]
    )
    subject = watched(server)
    seen: list[list[str]] = []
    for _ in range(4):
        seen.append([item["metadata"]["resourceVersion"] for item in subject.objects()])
        subject.wait(1)
    assert seen == [["1"], ["1", "11"], ["1", "12"], ["12"]]
    assert server.watched_from == ["10"]


def test_a_watch_that_the_server_ends_is_continued_where_it_was() -> None:
    server = Server(
        [[]], [[line("BOOKMARK", config("", "20"))], [line("ADDED", config("a", "21"))]]
    )
    subject = watched(server)
    for _ in range(3):
        subject.objects()
        subject.wait(1)
    assert server.watched_from == ["10", "20"]
    assert len(subject.objects()) == 1


@pytest.mark.parametrize(
    "broken",
    [
        [line("ERROR", {"code": 410, "reason": "Expired"})],
        [b'{"type": "ADDED", "obj\n'],
        OSError("connection reset"),
    ],
    ids=["expired", "cut short", "unreachable"],
)
def test_a_watch_that_breaks_begins_anew_with_a_list(broken: Any) -> None:
    server = Server([[config("a", "1")], [config("b", "30")]], [broken])
    subject = watched(server)
    subject.objects()
    subject.wait(1)
    assert [item["metadata"]["uid"] for item in subject.objects()] == ["b"]


def test_an_api_server_that_is_away_shows_when_looking_and_is_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("runbook_lib.base.wait.pause", pauses.append)
    away = ClusterUnreachable("no answer")
    server = Server([[], away, [config("a", "1")]], [OSError("connection reset")])
    subject = watched(server)
    subject.objects()
    subject.wait(1)
    with pytest.raises(ClusterUnreachable):
        subject.objects()
    subject.wait(1)
    assert len(pauses) == 1
    assert len(subject.objects()) == 1


@pytest.fixture(autouse=True)
def no_real_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runbook_lib.base.wait.pause", lambda _seconds: None)
