"""Who may change a cluster: one at a time, by the rules of Kubernetes' leader election."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base import chain
from runbook_lib.base.errors import ClusterRefused
from runbook_lib.base.journal import Journal, seal_of
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle.lease import (
    HOLDER_VARIABLE,
    Holder,
    Lease,
    LeaseHeld,
    held_by,
    identity,
    noted,
)
from tests.unit.events import started


class Stored:
    """One Lease as an API server keeps it: each version is written over once at most."""

    def __init__(self) -> None:
        self.item: Object | None = None
        self.version = 0

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Object | None:
        assert (api_version, kind) == ("coordination.k8s.io/v1", "Lease")
        assert (namespace, name) == ("kube-system", "istio-runbook")
        return copy.deepcopy(self.item)

    def create(self, item: Object) -> Object:
        return self._write(item, is_next=self.item is None)

    def replace(self, item: Object) -> Object:
        read = item["metadata"].get("resourceVersion")
        return self._write(item, is_next=read == str(self.version))

    def _write(self, item: Object, *, is_next: bool) -> Object:
        if not is_next:
            raise ClusterRefused("written since", status=409, reason="Conflict")
        self.version += 1
        self.item = copy.deepcopy(item)
        self.item["metadata"]["resourceVersion"] = str(self.version)
        return self.item

    @property
    def spec(self) -> dict[str, Any]:
        assert self.item is not None
        return dict(self.item["spec"])


class Cluster(Stored):
    """The same with a clock that moves only while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.working: list[Lease] = []
        self.shown: list[str] = []

    def lease(self, name: str, *, patience: float = 0) -> Lease:
        return Lease(
            self,
            Holder(name, f"run-{name}", f"{name}@here"),
            seconds=60,
            patience=patience,
            on_change=self.shown.append,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for each in self.working:
            each._renew_own()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_whoever_comes_first_holds_it_and_says_who_that_is(cluster: Cluster) -> None:
    with cluster.lease("a").held():
        assert cluster.spec["holderIdentity"] == "a"
        assert cluster.spec["leaseDurationSeconds"] == 60
        assert cluster.spec["leaseTransitions"] == 0
        assert cluster.item is not None
        assert cluster.item["metadata"]["annotations"] == {
            "istio-runbook/run": "run-a",
            "istio-runbook/by": "a@here",
        }


def test_another_run_is_refused_as_soon_as_the_holder_gives_a_sign_of_itself(
    cluster: Cluster,
) -> None:
    holder = cluster.lease("a")
    with holder.held():
        cluster.working.append(holder)
        with pytest.raises(LeaseHeld, match=r"another run .*: run run-a of a@here, since 20"):
            cluster.lease("b").wait_for_others()
        with pytest.raises(LeaseHeld), cluster.lease("b").held():
            pass
    assert cluster.now < 10
    assert cluster.spec["holderIdentity"] == "a"


def test_a_holder_that_gives_no_sign_is_gone_after_the_time_that_it_said_itself(
    cluster: Cluster,
) -> None:
    with cluster.lease("a").held():
        began = cluster.spec
    with cluster.lease("b").held():
        assert cluster.now >= 60
        assert cluster.spec["holderIdentity"] == "b"
        assert cluster.spec["leaseTransitions"] == 1
        assert cluster.spec["acquireTime"] >= began["acquireTime"]
    assert cluster.shown[0].startswith("run run-a of a@here")


def test_who_is_patient_gets_it_when_the_other_lets_go(cluster: Cluster) -> None:
    holder = cluster.lease("a")
    with holder.held():
        cluster.working.append(holder)
    waiting = cluster.lease("b", patience=600)
    sleep = cluster.sleep

    def until_released(seconds: float) -> None:
        sleep(seconds)
        if cluster.now > 200:
            cluster.working.clear()
            holder.release()

    waiting._sleep = until_released
    with waiting.held():
        assert cluster.spec["holderIdentity"] == "b"
        assert 200 < cluster.now < 205


def test_who_has_lost_it_is_refused_once_and_then_has_to_wait_like_others(
    cluster: Cluster,
) -> None:
    first, second = cluster.lease("a"), cluster.lease("b")
    with first.held():
        pass
    with second.held():
        with pytest.raises(LeaseHeld, match=r"lost the cluster .* run run-b of b"), first.held():
            pass
        second.release()
    with first.held():
        assert cluster.spec["holderIdentity"] == "a"


def test_the_kernels_of_one_run_hold_it_together(cluster: Cluster) -> None:
    with cluster.lease("a").held():
        since = cluster.spec["acquireTime"]
    with cluster.lease("a").held():
        assert cluster.now == 0
        assert cluster.spec["acquireTime"] == since


def test_whoever_writes_between_reading_and_taking_wins(cluster: Cluster) -> None:
    read = cluster.get

    def interrupted(*arguments: Any) -> Object | None:
        found = read(*arguments)
        cluster.get = read  # type: ignore[method-assign]
        with cluster.lease("b").held():
            pass
        return found

    cluster.get = interrupted  # type: ignore[method-assign]
    cluster.working.append(cluster.lease("b"))
    with pytest.raises(LeaseHeld), cluster.lease("a").held():
        pass
    assert cluster.spec["holderIdentity"] == "b"


def test_a_renewal_of_its_own_in_between_is_no_other_run(cluster: Cluster) -> None:
    holder = cluster.lease("a")
    with holder.held():
        read = cluster.get

        def renewed_meanwhile(*of: str) -> Object | None:
            cluster.get = read  # type: ignore[method-assign]
            before = read(*of)
            holder._renew_own()
            return before

        cluster.get = renewed_meanwhile  # type: ignore[method-assign,assignment]
        with holder.held():
            assert cluster.spec["holderIdentity"] == "a"
    assert cluster.shown == []


def test_only_the_holder_lets_go(cluster: Cluster) -> None:
    with cluster.lease("a").held():
        cluster.lease("b").release()
        assert cluster.spec["holderIdentity"] == "a"
        cluster.lease("a").release()
    assert cluster.spec["holderIdentity"] == ""
    assert cluster.spec["leaseDurationSeconds"] == 1


def test_what_the_cluster_refuses_is_said(cluster: Cluster) -> None:
    def forbidden(_item: Object) -> Object:
        raise ClusterRefused("leases is forbidden", status=403, reason="Forbidden")

    cluster.create = forbidden  # type: ignore[method-assign]
    with pytest.raises(ClusterRefused, match="forbidden"), cluster.lease("a").held():
        pass


def test_a_run_names_itself_and_notebooks_of_one_jupyter_server_belong_together() -> None:
    assert identity({HOLDER_VARIABLE: "r1"}) == "r1"
    assert identity({"JPY_PARENT_PID": "7"}) == identity({"JPY_PARENT_PID": "7"})
    assert identity({"JPY_PARENT_PID": "7"}) != identity({"JPY_PARENT_PID": "8"})


def test_the_seal_of_the_evidence_stands_on_the_lease_of_its_run_to_the_end(
    cluster: Cluster, tmp_path: Path
) -> None:
    evidence = tmp_path / "run-a" / "evidence.jsonl"
    own = Lease(cluster, Holder("a", "run-a", "a@here", evidence), seconds=60)
    journal = Journal(evidence, run="run-a")
    journal.record(started())
    with own.held():
        assert noted(cluster, "run-a") == seal_of(evidence)
        journal.record(started())
        own._renew_own()
        assert noted(cluster, "run-a") == seal_of(evidence)
        journal.record(started())
    own.release()
    assert noted(cluster, "run-a") == seal_of(evidence)
    whole = evidence.read_bytes()
    evidence.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    sealed = noted(cluster, "run-a")
    assert sealed is not None
    (fault,) = chain.faults(evidence, [sealed])
    assert fault == "the end is missing: 3 lines were sealed, and 2 are there"
    assert noted(cluster, "run-b") is None


def test_who_holds_it_is_told_until_it_is_let_go_of(cluster: Cluster) -> None:
    assert held_by(cluster) == ""
    own = cluster.lease("a")
    with own.held():
        assert held_by(cluster).startswith("run run-a of a@here, since 20")
    own.release()
    assert held_by(cluster) == ""
