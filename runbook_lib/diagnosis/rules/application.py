"""Rules about the application itself: its workloads and their pods."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.cluster import (
    PROXY,
    Object,
    name_of,
    namespace_of,
    pods,
    ref,
    reference,
)
from runbook_lib.diagnosis import (
    Cause,
    Observation,
    creation_failures,
    pods_of,
    registry,
    wanted_pods,
)

_PODS = "https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/"


_NOT_STARTED = ("ErrImage", "ImagePullBackOff", "InvalidImageName", "CreateContainer")
"""How the reasons begin for which the kubelet does not start a container."""


_rule = partial(registry.rule, registry.Area.APPLICATION, "00_start_here")

_NOT_ADMITTED = ("istiod-down", "webhook-unreachable", "other-webhook-unreachable", "pods-refused")
_CALLS_FAIL = (
    *("sidecar-unstable", "pod-without-sidecar", "destination-rule-conflict"),
    *("inbound-not-captured", "outbound-not-captured"),
    *("policy-not-in-effect", "proxy-stale", "proxy-disconnected"),
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
                f"{name} does not run",
                "install the application, or correct application.restart_order",
                (f"no {ref(kind, name, namespace)}",),
                link=_PODS,
                outside=_is_web(seen, kind, name) and bool(seen.unreachable),
            )


@_rule(order=90, needs=("workloads",))
def scaled_to_zero(seen: Observation) -> Iterator[Cause]:
    """A workload asks for no pods."""
    for kind, name, workload in seen.wanted_workloads():
        if workload is not None and wanted_pods(workload) == 0:
            yield Cause(
                reference(workload),
                f"{name} is scaled to 0",
                _symptom(seen, kind, name, f"{name} does not run"),
                f"kubectl --namespace {workload['metadata']['namespace']} scale "
                f"{kind.lower()}/{name} --replicas=1",
                (reference(workload, ".spec.replicas: 0"),),
                link=_PODS,
                outside=_is_web(seen, kind, name) and bool(seen.unreachable),
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
            _symptom(seen, kind, name, f"{name} has too few pods"),
            f"kubectl --namespace {workload['metadata']['namespace']} describe "
            f"{kind.lower()}/{name}",
            (
                reference(workload, f".spec.replicas: {wanted_pods(workload)}, ")
                + f"{len(pods_of(seen, workload))} pods",
                *creation_failures(seen, workload)[-1:],
            ),
            link=_PODS,
            outside=_is_web(seen, kind, name) and bool(seen.unreachable),
        )


@_rule(order=130, needs=("pods", "workloads"))
def container_not_started(seen: Observation) -> Iterator[Cause]:
    """A container of the application cannot even be started; calls have no part in that."""
    for kind, name, pod, waiting in _waiting(seen):
        failed = next((c for c in waiting if _never_ran(c)), None)
        if failed is None:
            continue
        where, pod_name = namespace_of(pod), name_of(pod)
        yield Cause(
            ref("Pod", pod_name, where),
            f"the application's container {failed.name} cannot be started",
            _symptom(seen, kind, name, f"{pod_name} is {pods.ready_count(pod)}"),
            f"kubectl --namespace {where} describe pod {pod_name}",
            (
                f"Pod {where}/{pod_name}: {pods.why_not_ready(pod)}",
                *map(str, seen.events.get(pod_name, ())[-1:]),
            ),
            link=_PODS,
            outside=_is_web(seen, kind, name) and bool(seen.wrong_answers),
        )


@_rule(order=140, needs=("pods", "workloads"), explained_by=_CALLS_FAIL)
def container_not_ready(seen: Observation) -> Iterator[Cause]:
    """A container of the application was started, and is not ready."""
    for kind, name, pod, waiting in _waiting(seen):
        if any(map(_never_ran, waiting)):
            continue
        where, pod_name = namespace_of(pod), name_of(pod)
        logs = [
            f"log of {c.name}: {line}"
            for c in waiting
            for line in seen.logs.get((pod_name, c.name), ())[-1:]
        ]
        probes = [
            f"log of {PROXY}: {' '.join(line.split())}"
            for line in seen.logs.get((pod_name, PROXY), ())
            if "Request to probe app failed" in line
        ]
        yield Cause(
            ref("Pod", pod_name, where),
            f"the application's container {waiting[0].name} is not ready",
            _symptom(seen, kind, name, f"{pod_name} is {pods.ready_count(pod)}"),
            f"kubectl --namespace {where} logs {pod_name} --container {waiting[0].name}",
            (
                f"Pod {where}/{pod_name}: {pods.why_not_ready(pod)}",
                *map(str, seen.events.get(pod_name, ())[-1:]),
                *probes[-1:],
                *logs,
            ),
            link=_PODS,
            outside=_is_web(seen, kind, name) and bool(seen.wrong_answers),
            pod=pod_name,
        )


def _waiting(seen: Observation) -> Iterator[tuple[str, str, Object, list[pods.Container]]]:
    """Yield the pods of which containers of the application are not ready, and these."""
    for kind, name, workload in seen.wanted_workloads():
        for pod in pods_of(seen, workload) if workload else []:
            waiting = [c for c in pods.containers(pod) if not c.ready and c.name != PROXY]
            if waiting and "deletionTimestamp" not in pod["metadata"]:
                yield kind, name, pod, waiting


def _never_ran(container: pods.Container) -> bool:
    return container.waiting.startswith(_NOT_STARTED)


def _symptom(seen: Observation, kind: str, name: str, otherwise: str) -> str:
    """Say what users get if it is the web workload that fails, or else what fails."""
    if _is_web(seen, kind, name) and seen.unreachable:
        return f"{otherwise}: {seen.unreachable[0].text}"
    return otherwise


def _is_web(seen: Observation, kind: str, name: str) -> bool:
    return (kind, name) == _web(seen)


def _web(seen: Observation) -> tuple[str, str]:
    web = seen.parameters.application.web
    return str(web.kind), web.name
