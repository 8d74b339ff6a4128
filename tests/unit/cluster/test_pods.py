from __future__ import annotations

from typing import Any, cast

import pytest

from runbook_lib.cluster import pods
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.events import KubeEvent

RUNNING = {"state": {"running": {}}, "ready": True}


def pod(
    *names: str,
    native: tuple[str, ...] = (),
    init: tuple[str, ...] = (),
    statuses: dict[str, dict[str, Any]] | None = None,
    conditions: dict[str, str] | None = None,
    **status: Any,
) -> dict[str, Any]:
    states = {**dict.fromkeys(names + native, RUNNING), **(statuses or {})}
    first = [
        *({"name": n, "restartPolicy": "Always"} for n in native),
        *({"name": n} for n in init),
    ]
    return {
        "metadata": {"name": "web-0"},
        "spec": {"containers": [{"name": name} for name in names], "initContainers": first},
        "status": {
            "containerStatuses": [{"name": n, **states[n]} for n in names if n in states],
            "initContainerStatuses": [
                {"name": n, **states[n]} for n in native + init if n in states
            ],
            "conditions": [
                {"type": kind, "status": value} for kind, value in (conditions or {}).items()
            ],
            **status,
        },
    }


def waiting(reason: str, message: str | None = None) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}, "ready": False}


def test_a_native_sidecar_counts_although_it_is_an_init_container() -> None:
    web = pod("xnat", native=("istio-proxy",), init=("istio-init",))
    assert pods.ready_count(web) == "2/2"
    assert pods.has_sidecar(web)
    assert [c.native_sidecar for c in pods.containers(web)] == [True, False]


def test_a_classic_sidecar_counts() -> None:
    assert pods.has_sidecar(pod("xnat", "istio-proxy"))
    assert not pods.has_sidecar(pod("xnat", init=("istio-init",)))


def test_a_pod_without_any_status_yet_counts_as_none_ready() -> None:
    fresh = {"metadata": {"name": "web-0"}, "spec": {"containers": [{"name": "xnat"}]}}
    assert pods.ready_count(fresh) == "0/1"
    assert not pods.is_ready(fresh)


def test_ready_is_the_condition_and_not_on_its_way_out() -> None:
    ready = pod("xnat", conditions={"Ready": "True"})
    assert pods.is_ready(ready)
    assert pods.describe(ready) == "web-0 1/1 ready"
    ready["metadata"]["deletionTimestamp"] = "now"
    assert not pods.is_ready(ready)
    assert pods.is_leaving(ready)
    assert pods.describe(ready) == "web-0 1/1 terminating"
    assert pods.why_not_ready(ready) == "terminating"


def test_a_sidecar_that_is_not_ready_is_there_all_the_same() -> None:
    starting = pod("xnat", native=("istio-proxy",), statuses={"istio-proxy": {"ready": False}})
    assert pods.has_sidecar(starting)
    assert not pods.has_ready_sidecar(starting)
    assert pods.has_ready_sidecar(pod("xnat", native=("istio-proxy",)))
    assert not pods.has_ready_sidecar(pod("xnat"))


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (
            pod("xnat", statuses={"xnat": waiting("ImagePullBackOff", "no such\n  image")}),
            "xnat: ImagePullBackOff: no such image",
        ),
        (
            pod(
                "xnat",
                statuses={
                    "xnat": {
                        **waiting("CrashLoopBackOff"),
                        "lastState": {"terminated": {"exitCode": 137}},
                    }
                },
            ),
            "xnat: CrashLoopBackOff (last exit code 137)",
        ),
        (
            pod("xnat", statuses={"xnat": {"state": {"terminated": {"exitCode": 2}}}}),
            "xnat: Ended, exit code 2",
        ),
        (
            pod(
                "xnat",
                init=("istio-init",),
                statuses={
                    "xnat": waiting("PodInitializing"),
                    "istio-init": {
                        "state": {"terminated": {"exitCode": 1, "reason": "Error"}},
                    },
                },
            ),
            "istio-init: Error, exit code 1",
        ),
        (
            pod(
                "xnat",
                init=("istio-init",),
                statuses={
                    "xnat": {"state": {"running": {}}, "ready": False},
                    "istio-init": {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
                },
            ),
            "waiting for xnat to pass its readiness probe",
        ),
        (pod("xnat", phase="Pending", statuses={"xnat": RUNNING}), "pending"),
    ],
)
def test_the_reason_of_a_pod_that_is_not_ready(subject: dict[str, Any], reason: str) -> None:
    assert pods.why_not_ready(subject) == reason


def test_a_pod_that_cannot_be_scheduled_says_why() -> None:
    subject = pod("xnat", statuses={"xnat": waiting("ContainerCreating")})
    subject["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    ]
    assert pods.why_not_ready(subject) == "not scheduled: 0/1 nodes are available"


def test_a_readiness_gate_is_named() -> None:
    gate = "target-health.elbv2.k8s.aws/tg"
    subject = pod("xnat", conditions={"Ready": "False"})
    subject["spec"]["readinessGates"] = [{"conditionType": gate}]
    assert pods.why_not_ready(subject) == f"waiting for readiness gate {gate}"


def test_only_telling_events_explain_and_each_once() -> None:
    class Events:
        def events(self, _namespace: str, name: str) -> list[KubeEvent]:
            refused = KubeEvent("FailedCreate", "failed calling webhook")
            return [KubeEvent("Scheduled", "ok"), refused, refused] if name == "web" else []

    found = pods.explain(cast("Cluster", Events()), "xnat", ["web", "web-0"])
    assert found == ["web: FailedCreate: failed calling webhook"]
