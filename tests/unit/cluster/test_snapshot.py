"""What one look at a cluster reads is of one moment, and is asked for once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from runbook_lib.base import ClusterRefused, ClusterUnreachable, KindNotInstalled
from runbook_lib.cluster import Cluster, Object, snapshot


class Asked:
    """A cluster that notes what it is asked, and whose objects differ with every request."""

    def __init__(self, error: Exception | None = None) -> None:
        self.requests: list[str] = []
        self.error = error
        self.entered = threading.Event()
        self.goes_on = threading.Event()
        self.goes_on.set()

    def get(self, *_place: str | None) -> Object:
        return self._answer("get")

    def list(self, *_place: Any) -> list[Object]:
        return [self._answer("list")]

    def apply(self, _manifest: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        return self._answer(f"apply {dry_run} {force}")

    def delete(self, *_place: str | None) -> bool:
        return bool(self._answer("delete"))

    def logs(self) -> list[str]:
        return [str(self._answer("logs"))]

    def _answer(self, request: str) -> Object:
        self.requests.append(request)
        self.entered.set()
        self.goes_on.wait(10)
        if self.error is not None:
            raise self.error
        return {"kind": "Pod", "metadata": {"name": f"a-{len(self.requests)}"}}


def _look(asked: Asked) -> Cluster:
    return snapshot(cast(Cluster, asked))


def test_what_is_read_twice_is_asked_for_once_and_is_the_same() -> None:
    asked = Asked()
    cluster = _look(asked)
    assert cluster.get("v1", "Pod", "a", "b") is cluster.get("v1", "Pod", "a", "b")
    assert cluster.list("v1", "Pod", "b") == cluster.list("v1", "Pod", "b")
    assert asked.requests == ["get", "list"]


def test_other_objects_and_other_labels_are_asked_for() -> None:
    asked = Asked()
    cluster = _look(asked)
    for name in ("a", "b"):
        cluster.get("v1", "Pod", name)
        cluster.list("v1", "Pod", labels={"app": name})
    assert asked.requests == ["get", "list", "get", "list"]


def test_the_same_dry_run_is_made_once_and_one_of_another_kind_by_itself() -> None:
    asked = Asked()
    cluster = _look(asked)
    for force in (False, False, True):
        cluster.apply({"kind": "Pod"}, dry_run=True, force=force)
    assert asked.requests == ["apply True False", "apply True True"]


def test_a_change_is_made_each_time_and_what_was_read_before_is_forgotten() -> None:
    asked = Asked()
    cluster = _look(asked)
    cluster.get("v1", "Pod", "a")
    cluster.apply({"kind": "Pod"})
    cluster.apply({"kind": "Pod"})
    cluster.get("v1", "Pod", "a")
    cluster.delete("v1", "Pod", "a")
    cluster.get("v1", "Pod", "a")
    change = "apply False False"
    assert asked.requests == ["get", change, change, "get", "delete", "get"]


def test_what_happens_meanwhile_such_as_logs_is_asked_each_time() -> None:
    asked = Asked()
    cluster = _look(asked)
    cluster.logs()  # type: ignore[call-arg] # a double
    cluster.logs()  # type: ignore[call-arg]
    assert asked.requests == ["logs", "logs"]


@pytest.mark.parametrize(
    "error", [KindNotInstalled("v1", "Pod"), ClusterRefused("no", "ask", status=403, reason="")]
)
def test_that_the_server_refuses_is_an_answer_too(error: Exception) -> None:
    asked = Asked(error)
    cluster = _look(asked)
    for _ in range(2):
        with pytest.raises(type(error)):
            cluster.get("v1", "Pod", "a")
    assert asked.requests == ["get"]


def test_a_server_that_did_not_answer_is_asked_again() -> None:
    asked = Asked(ClusterUnreachable("away"))
    cluster = _look(asked)
    with pytest.raises(ClusterUnreachable):
        cluster.get("v1", "Pod", "a")
    asked.error = None
    assert cluster.get("v1", "Pod", "a")
    assert asked.requests == ["get", "get"]


def test_threads_that_ask_the_same_wait_for_one_answer() -> None:
    asked = Asked()
    cluster = _look(asked)
    asked.goes_on.clear()
    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(cluster.get, "v1", "Pod", "a") for _ in range(4)]
        asked.entered.wait(10)
        asked.goes_on.set()
    assert len({id(each.result()) for each in found}) == 1
    assert asked.requests == ["get"]
