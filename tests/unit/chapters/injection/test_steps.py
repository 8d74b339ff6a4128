"""Sidecars: which workloads are restarted, which are only waited for, and what proves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from runbook_lib.base.errors import ClusterRefused, RunbookError, WaitTimeout
from runbook_lib.base.journal import Journal
from runbook_lib.base.wait import State, until
from runbook_lib.chapters.injection import rollback as sidecars
from runbook_lib.chapters.injection import steps as injection
from runbook_lib.chapters.shared import observe
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.names import RESTARTED_AT
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import table
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.lifecycle.step import Step, Verification
from runbook_lib.lifecycle.table import Row
from runbook_lib.mesh.injection import check_new_pod
from tests.unit.doubles.given_cluster import kept_by
from tests.unit.samples import LAB, lab_parameters

WEB, DATABASE = "xnat-xnat-web", "xnat-postgresql"


def stateful_set(name: str, replicas: int = 1, *, updated: int | None = None) -> Object:
    """One that was restarted on Tuesday."""
    template = {
        "metadata": {"labels": {"app": name}, "annotations": {RESTARTED_AT: "tuesday"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    count = replicas if updated is None else updated
    return {
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": "xnat", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
        },
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": count,
            "availableReplicas": replicas,
        },
    }


def pod(
    app: str, number: int = 0, *, sidecar: bool | None = True, at: str = "tuesday", **metadata: str
) -> Object:
    """A pod whose sidecar is ready, not ready yet (False), or missing (None)."""
    ready = {"c": True} if sidecar is None else {"c": True, "istio-proxy": sidecar}
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{app}-{number}",
            "namespace": "xnat",
            "labels": {"app": app},
            "annotations": {RESTARTED_AT: at},
            **kept_by(app),
            **metadata,
        },
        "spec": {"containers": [{"name": name} for name in ready]},
        "status": {"containerStatuses": [{"name": n, "ready": r} for n, r in ready.items()]},
    }


def leaving(app: str, at: str = "monday") -> Object:
    return pod(app, sidecar=None, at=at, deletionTimestamp="now")


NODE = {
    "kind": "Node",
    "metadata": {"name": "node", "labels": {}},
    "spec": {},
    "status": {
        "allocatable": {"cpu": "4", "memory": "8Gi"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


class FakeCluster:
    """Answers from what it was given; a watch looks once, and then time is up."""

    def __init__(self, *objects: Object, refusal: ClusterRefused | None = None) -> None:
        self.objects = (NODE, *objects)
        self.refusal = refusal
        self.restarted: list[str] = []
        self.waited: list[str] = []
        self.asked: list[Object] = []

    def get(
        self, _version: str, kind: str, name: str, _namespace: str | None = None
    ) -> Object | None:
        found = (o for o in self.objects if (o["kind"], o["metadata"]["name"]) == (kind, name))
        return next(found, None)

    def list(
        self,
        _version: str,
        kind: str,
        _namespace: str | None = None,
        labels: dict[str, str] | None = None,
    ) -> list[Object]:
        return [
            o
            for o in self.objects
            if o["kind"] == kind
            and (labels or {}).items() <= (o["metadata"].get("labels") or {}).items()
        ]

    def restart(self, _kind: str, name: str, _namespace: str, _reason: str) -> None:
        self.restarted.append(name)

    def apply(self, manifest: Object, *, dry_run: bool) -> Object:
        assert dry_run
        self.asked.append(manifest)
        if self.refusal:
            raise self.refusal
        return manifest

    def watch_until(
        self,
        what: str,
        _version: str,
        kind: str,
        _namespace: str,
        judge: Callable[[Sequence[Object]], State],
        *,
        name: str | None = None,
        **_options: Any,
    ) -> State:
        self.waited.append(what)
        found = [o for o in self.list("", kind) if name in (None, o["metadata"]["name"])]
        return until(what, lambda: judge(found), timeout=0)


class Situation:
    """The step that restarts, on a cluster with these objects."""

    def __init__(self, folder: Path, *objects: Object, refusal: ClusterRefused | None = None):
        self.cluster = FakeCluster(*objects, refusal=refusal)
        evidence = Journal(folder / "evidence.jsonl", run="r", step="s")
        parameters = lab_parameters()
        self.context = Context(parameters, LAB, cast("Cluster", self.cluster), evidence)
        self.step: Step = injection.steps(parameters)[-1]

    def plan(self) -> Plan:
        return self.step.plan(self.context)

    def verify(self) -> Verification:
        return self.step.verify(self.context)


Given = Callable[..., Situation]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """A situation where the database is in the mesh, and the site answers."""
    answers = table.Table("From outside", (), ())
    monkeypatch.setattr(observe, "prove_traffic", lambda _context, **_: answers)
    database = stateful_set(DATABASE), pod(DATABASE)
    return lambda *objects, **more: Situation(tmp_path, *database, *objects, **more)


def test_a_pod_that_is_terminating_is_no_reason_to_restart(given: Given) -> None:
    found = given(stateful_set(WEB), pod(WEB, 1), leaving(WEB))
    assert found.plan().empty
    assert found.plan().note == ""
    result = found.verify()
    assert result.ok
    assert f"without a sidecar until then: {WEB}-0" in result.note
    assert Row((f"{WEB}-0", "1/1", "terminating", "none")) in result.tables[0].rows


@pytest.mark.parametrize("at", ["monday", "tuesday"])
def test_a_terminating_pod_without_its_successor_proves_nothing(given: Given, at: str) -> None:
    """Nor is it held against a rollout that it was created without, if somebody deleted it."""
    web = stateful_set(WEB)
    web["status"].update(updatedReplicas=0, availableReplicas=0)
    found = given(web, leaving(WEB, at))
    assert found.plan().empty
    assert f"waited for: the pods of StatefulSet xnat/{WEB}" in found.plan().note
    with pytest.raises(WaitTimeout, match=f"{WEB} to be rolled out.*{WEB}-0 1/1 terminating"):
        found.verify()


@pytest.mark.usefixtures("given")
def test_only_terminating_pods_are_no_pods(tmp_path: Path) -> None:
    found = Situation(
        tmp_path,
        *(stateful_set(name, 0) for name in (DATABASE, WEB)),
        *(leaving(name) for name in (DATABASE, WEB)),
    )
    result = found.verify()
    assert not result.ok
    assert result.note.startswith("There are no pods in xnat.")


def test_a_sidecar_that_is_not_ready_is_waited_for_and_not_restarted(given: Given) -> None:
    pending = pod(WEB, sidecar=False)
    pending["status"] = {
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "full"}]
    }
    found = given(stateful_set(WEB), pending)
    assert found.plan().empty
    with pytest.raises(WaitTimeout, match=rf"sidecars in xnat .*{WEB}-0 0/2 not scheduled: full"):
        found.verify()


def test_a_pod_of_nobodys_whose_sidecar_is_starting_is_waited_for(given: Given) -> None:
    found = given(stateful_set(WEB), pod(WEB), pod("nightly-job", sidecar=False))
    assert found.plan().empty
    with pytest.raises(WaitTimeout, match="nightly-job-0 1/2 waiting for istio-proxy"):
        found.verify()


def half_done(*, last_at: str = "monday", updated: int = 2) -> tuple[Object, ...]:
    """A rollout that ran out of time with one pod left."""
    web = stateful_set(WEB, 3, updated=updated)
    return web, pod(WEB, 2), pod(WEB, 1), pod(WEB, 0, sidecar=None, at=last_at)


def test_a_rollout_that_is_under_way_is_waited_for_and_not_begun_again(given: Given) -> None:
    found = given(*half_done())
    plan = found.plan()
    assert plan.empty
    assert str(plan) == (
        "Nothing to change. Being replaced already, and only waited for: "
        f"the pods of StatefulSet xnat/{WEB}."
    )
    with pytest.raises(WaitTimeout, match=r"to be rolled out.*2 of 3 updated"):
        found.verify()


def test_a_plan_stays_the_same_however_far_a_rollout_under_way_has_come(tmp_path: Path) -> None:
    database = stateful_set(DATABASE), pod(DATABASE, sidecar=None)
    ended = stateful_set(WEB, 3), *(pod(WEB, number) for number in range(3))
    plans = [Situation(tmp_path, *database, *web).plan() for web in (half_done(), ended)]
    assert [plan.summary for plan in plans] == [f"restart StatefulSet xnat/{DATABASE}"] * 2
    assert plans[0].digest == plans[1].digest


def test_what_is_under_way_comes_to_its_end_before_the_next_restart(tmp_path: Path) -> None:
    database = stateful_set(DATABASE, updated=0)
    found = Situation(
        tmp_path,
        database,
        pod(DATABASE, sidecar=None, at="monday"),
        stateful_set(WEB),
        pod(WEB, sidecar=None),
    )
    plan = found.plan()
    assert plan.summary == f"restart StatefulSet xnat/{WEB}"
    assert DATABASE in plan.note
    with pytest.raises(WaitTimeout, match=DATABASE):
        found.step.apply(found.context, plan)
    assert found.cluster.restarted == []


@pytest.mark.parametrize(
    "web",
    [
        # The newest pods were created without: the rollout under way does not help.
        half_done(last_at="tuesday"),
        # It has ended, and left one.
        half_done(updated=3),
    ],
)
def test_what_no_rollout_will_replace_is_restarted(given: Given, web: tuple[Object, ...]) -> None:
    found = given(*web)
    plan = found.plan()
    assert [(c.ref, c.text) for c in plan.changes] == [
        (f"StatefulSet xnat/{WEB}", f"{WEB}-0: has no istio-proxy")
    ]
    assert not found.verify().ok
    assert found.cluster.waited == ["the sidecars in xnat to be ready"]


def test_a_workload_that_keeps_its_pods_is_not_called_under_way(given: Given) -> None:
    web, *pods = half_done()
    web["spec"]["updateStrategy"] = {"type": "OnDelete"}
    with pytest.raises(RunbookError, match="OnDelete"):
        given(web, *pods).plan()


def refusal(status: int, message: str) -> ClusterRefused:
    return ClusterRefused(f"apply Pod (dry run): {message}", status=status, reason="r")


@pytest.mark.parametrize("injected", [True, False])
@pytest.mark.parametrize(
    "refused",
    [
        refusal(403, "pods is forbidden: User cannot create resource"),
        refusal(403, "exceeded quota: pods, requested: pods=1, used: pods=9, limited: pods=9"),
        refusal(422, "ValidatingAdmissionPolicy 'owned' denied request: no naked pods"),
        refusal(400, 'admission webhook "validate.kyverno.svc" does not support dry run'),
    ],
)
def test_a_refused_pod_tells_nothing_about_injection(
    given: Given, refused: ClusterRefused, *, injected: bool
) -> None:
    found = given(stateful_set(WEB), refusal=refused)
    check = check_new_pod(found.context, injected=injected)
    assert check.ok is None
    assert check.found == f"cannot tell: {refused.cause}"


@pytest.mark.parametrize(
    "refused",
    [
        refusal(500, 'failed calling webhook "namespace.sidecar-injector.istio.io"'),
        refusal(400, 'admission webhook "namespace.sidecar-injector.istio.io" denied the request'),
        refusal(429, "too many requests"),
    ],
)
def test_an_error_that_every_pod_meets_is_an_error(given: Given, refused: ClusterRefused) -> None:
    found = given(stateful_set(WEB), refusal=refused)
    with pytest.raises(ClusterRefused) as caught:
        check_new_pod(found.context, injected=True)
    assert caught.value is refused


def test_a_new_pod_has_the_volumes_that_a_stateful_set_would_give_it(given: Given) -> None:
    web = stateful_set(WEB)
    web["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "archive"}}]
    found = given(web)
    assert check_new_pod(found.context, injected=False).ok
    assert not check_new_pod(found.context, injected=True).ok
    (asked, _) = found.cluster.asked
    claim = {"claimName": f"archive-{asked['metadata']['name']}"}
    assert asked["spec"]["volumes"] == [{"name": "archive", "persistentVolumeClaim": claim}]
    assert "volumes" not in web["spec"]["template"]["spec"]


def taking_back(situation: Situation) -> Plan:
    """The plan of the rollback's step in the same situation."""
    (step,) = sidecars.steps(situation.context.parameters)
    return step.plan(situation.context)


def with_sidecars(*numbers: int, at: str = "monday") -> tuple[Object, ...]:
    """Three web pods: those with a sidecar, and the others, which a rollout replaced already."""
    web = stateful_set(WEB, 3, updated=3 - len(numbers))
    return web, *(
        pod(WEB, n, at=at) if n in numbers else pod(WEB, n, sidecar=None) for n in range(3)
    )


def test_taking_back_leaves_terminating_pods_alone(tmp_path: Path) -> None:
    last = pod(WEB, 1, at="monday", deletionTimestamp="now")
    assert taking_back(Situation(tmp_path, stateful_set(WEB), pod(WEB, sidecar=None), last)).empty


def test_the_plan_to_wait_for_pods_to_be_replaced_names_none_of_them(tmp_path: Path) -> None:
    early, late = (
        taking_back(Situation(tmp_path, *with_sidecars(*numbers))) for numbers in ((0, 1), (0,))
    )
    assert early.changes[0].text == "its pods are being replaced already; this only waits for it"
    assert early.digest == late.digest


@pytest.mark.parametrize("at", ["monday", "tuesday"])
def test_sidecars_that_no_rollout_will_replace_are_restarted(tmp_path: Path, at: str) -> None:
    web, *pods = with_sidecars(0, 1, 2, at=at)
    web["status"]["updatedReplicas"] = 3
    plan = taking_back(Situation(tmp_path, web, *pods))
    assert plan.changes[0].text == "\n".join(f"{WEB}-{n}: has istio-proxy" for n in range(3))
