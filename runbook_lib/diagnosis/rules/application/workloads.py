"""Rules about the application itself: its workloads and their pods."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from runbook_lib.cluster import PROXY, Object, name_of, namespace_of, pods, ref, reference
from runbook_lib.diagnosis import (
    Cause,
    Observation,
    by_workload,
    creation_failures,
    events_of,
    of_many,
    pods_of,
    registry,
    some,
    wanted_pods,
)
from runbook_lib.mesh import patience

_PODS = "https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/"


_NOT_STARTED = ("ErrImage", "ImagePullBackOff", "InvalidImageName", "CreateContainer")
"""How the reasons begin for which the kubelet does not start a container."""


_ASKED = {
    "StatefulSet": ".spec.replicas",
    "Deployment": ".spec.replicas",
    "DaemonSet": ".status.desiredNumberScheduled",
}
"""Where a workload says how many pods there are to be."""

_rule = partial(registry.rule, registry.Area.APPLICATION, "00_start_here")

_NOT_ADMITTED = ("istiod-down", "webhook-unreachable", "other-webhook-unreachable", "pods-refused")
CALLS_FAIL = (
    *("sidecar-unstable", "pod-without-sidecar", "destination-rule-conflict"),
    *("inbound-not-captured", "outbound-not-captured"),
    *("policy-not-in-effect", "proxy-stale", "proxy-disconnected"),
    *("network-policy-closes", "network-policy-locks-out", "pod-opts-out"),
)
"""Why a container may wait in vain for what it needs, such as a database."""


@_rule(order=80, needs=("workloads",))
def workload_missing(seen: Observation) -> Iterator[Cause]:
    """A workload that the parameters name is not there."""
    namespace = seen.parameters.application.namespace
    for kind, name, workload in seen.wanted_workloads():
        if workload is None:
            yield Cause(
                ref(kind, name, namespace),
                f"there is no {ref(kind, name, namespace)}",
                symptom(seen, name, f"{name} does not run"),
                "install the application, or correct application.restart_order",
                (f"no {ref(kind, name, namespace)}",),
                link=_PODS,
                outside=bool(seen.failed_by(name)),
            )


@_rule(order=90, needs=("workloads",))
def scaled_to_zero(seen: Observation) -> Iterator[Cause]:
    """A workload asks for no pods."""
    for kind, name, workload in seen.wanted_workloads():
        if workload is not None and workload["spec"].get("replicas") == 0:
            yield Cause(
                reference(workload),
                f"{name} is scaled to 0",
                symptom(seen, name, f"{name} does not run"),
                f"kubectl --namespace {workload['metadata']['namespace']} scale "
                f"{kind.lower()}/{name} --replicas=1",
                (reference(workload, ".spec.replicas: 0"),),
                link=_PODS,
                outside=bool(seen.failed_by(name)),
            )


@_rule(order=100, needs=("workloads", "pods"), explained_by=_NOT_ADMITTED)
def pods_missing(seen: Observation) -> Iterator[Cause]:
    """A workload has fewer pods than it asks for: something refuses them."""
    for kind, name, workload in seen.wanted_workloads():
        if workload is None or len(pods_of(seen, workload)) >= wanted_pods(workload):
            continue
        yield Cause(
            reference(workload),
            "pods cannot be created",
            symptom(seen, name, f"{name} has too few pods"),
            f"kubectl --namespace {workload['metadata']['namespace']} describe "
            f"{kind.lower()}/{name}",
            (
                reference(workload, f"{_ASKED[kind]}: {wanted_pods(workload)}")
                + f", {len(pods_of(seen, workload))} pods",
                *creation_failures(seen, workload)[-1:],
            ),
            link=_PODS,
            outside=bool(seen.failed_by(name)),
        )


@_rule(order=130, needs=("pods", "workloads"))
def container_not_started(seen: Observation) -> Iterator[Cause]:
    """A container of the application cannot even be started; calls have no part in that."""
    for keeper, found in _waiting(seen, lambda waiting: any(map(_never_ran, waiting))):
        failed = next(c for c in _lagging(found[0]) if _never_ran(c))
        yield _not_ready(
            seen,
            found,
            f"the application's container {failed.name}{of_many(keeper, found)} cannot be started",
            "describe pod {}",
            tuple(map(str, events_of(seen, found[0])[-1:])),
        )


@_rule(
    order=140,
    needs=("pods", "workloads"),
    explained_by=(*CALLS_FAIL, "pod-left-behind", "init-container-waits", "pod-not-scheduled"),
)
def container_not_ready(seen: Observation) -> Iterator[Cause]:
    """A container of the application was started, and is not ready."""
    for keeper, found in _waiting(seen, _has_failed):
        name, waiting = name_of(found[0]), _lagging(found[0])
        logs = [
            f"log of {c.name}: {line}"
            for c in waiting
            for line in seen.logs.get((name, c.name), ())[-1:]
        ]
        probes = [
            f"log of {PROXY}: {' '.join(line.split())}"
            for line in seen.logs.get((name, PROXY), ())
            if "Request to probe app failed" in line
        ]
        yield _not_ready(
            seen,
            found,
            f"the application's container {waiting[0].name}{of_many(keeper, found)} is not ready",
            f"logs {{}} --container {waiting[0].name}",
            (*map(str, events_of(seen, found[0])[-1:]), *probes[-1:], *logs),
        )


@_rule(
    order=141,
    needs=("pods", "workloads"),
    explained_by=(*CALLS_FAIL, "pod-left-behind", "init-container-waits", "pod-not-scheduled"),
)
def pod_starting(seen: Observation) -> Iterator[Cause]:
    """Users wait for pods that only start: that is no fault, and nothing else is looked for."""
    for keeper, found in _waiting(seen, lambda waiting: all(c.starting for c in waiting)):
        kept = [pod for pod in seen.pods if pods.workload_of(pod) == pods.workload_of(found[0])]
        if seen.failed_by(pods.workload_of(found[0])[1]) and not any(map(pods.is_ready, kept)):
            seconds = math.ceil(patience.seconds_to_start(found[0]))
            cause = _not_ready(seen, found, f"{some(keeper, found)} is starting", "get pod {}", ())
            remedy = f"wait: by its own probes it may take {seconds} s; {cause.remedy} --watch"
            yield replace(cause, remedy=remedy)


def _has_failed(waiting: list[pods.Container]) -> bool:
    """Whether containers that are not ready were started, and do not merely take their time."""
    return not any(map(_never_ran, waiting)) and not all(c.starting for c in waiting)


def _not_ready(
    seen: Observation, found: list[Object], what: str, look: str, more: tuple[str, ...]
) -> Cause:
    pod, (_, keeper) = found[0], pods.workload_of(found[0])
    where, name = namespace_of(pod), name_of(pod)
    return Cause(
        ref("Pod", name, where) if len(found) == 1 else reference(_keeper(seen, pod)),
        what,
        symptom(seen, keeper, f"{name} is {pods.ready_count(pod)}"),
        f"kubectl --namespace {where} {look.format(name)}",
        (f"Pod {where}/{name}: {pods.why_not_ready(pod)}", *more),
        link=_PODS,
        outside=bool(seen.failed_by(keeper)),
        pods=frozenset(map(name_of, found)),
    )


def _waiting(
    seen: Observation, concerns: Callable[[list[pods.Container]], bool]
) -> Iterator[tuple[str, list[Object]]]:
    """Yield pods of which containers of the application are not ready, by what keeps them."""
    kept = [
        p for _, _, workload in seen.wanted_workloads() if workload for p in pods_of(seen, workload)
    ]
    found = [p for p in kept if not pods.is_leaving(p) and _lagging(p) and concerns(_lagging(p))]
    yield from by_workload(seen, found)


def _lagging(pod: Object) -> list[pods.Container]:
    return [c for c in pods.containers(pod) if not c.ready and c.name != PROXY]


def _keeper(seen: Observation, pod: Object) -> Object:
    return seen.workload(*pods.workload_of(pod)) or pod


def _never_ran(container: pods.Container) -> bool:
    return container.waiting.startswith(_NOT_STARTED)


def symptom(seen: Observation, workload: str, otherwise: str) -> str:
    """Say what users get where that is because a workload fails, or else what fails."""
    answers = seen.failed_by(workload)
    return f"{otherwise}: {answers[0].text}" if answers else otherwise
