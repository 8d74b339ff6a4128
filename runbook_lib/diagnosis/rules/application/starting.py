"""Rules about pods that do not get as far as the application's containers, or never end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from runbook_lib.chapters.shared.preflight import workloads as preflight
from runbook_lib.cluster import (
    INJECT,
    NATIVE_SIDECAR,
    PROXY,
    Object,
    annotations_of,
    has_sidecar,
    labels_of,
    name_of,
    namespace_of,
    pods,
    ref,
    reference,
)
from runbook_lib.diagnosis import (
    Cause,
    Observation,
    by_workload,
    events_of,
    of_many,
    pods_of,
    registry,
    some,
)
from runbook_lib.diagnosis.rules.application.workloads import CALLS_FAIL, symptom
from runbook_lib.mesh.policy import (
    STRICT,
    mode_on_port,
    serves,
    service_targets,
    spec_of,
    why_not_inbound,
)

LONG = timedelta(minutes=2)
"""How long an init container may run until that is worth a word."""

SOON = 30
"""Seconds that a pod may wait for a node, or its volume, until that is worth a word."""

_INIT = "https://kubernetes.io/docs/tasks/debug/debug-application/debug-init-containers/"
_NATIVE = "https://istio.io/latest/blog/2023/native-sidecars/"
_STUCK = "https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback"
_SCHEDULING = (
    "https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/#my-pod-stays-pending"
)
_rule = partial(registry.rule, registry.Area.APPLICATION, "00_start_here")


@_rule(order=104, needs=("pods",))
def pod_not_scheduled(seen: Observation) -> Iterator[Cause]:
    """No node takes a pod."""
    staying = [pod for pod in seen.pods if not pods.is_leaving(pod)]
    waiting = [pod for pod in staying if _unscheduled(pod) and pods.age(pod) > SOON]
    for keeper, found in by_workload(seen, waiting):
        where, name = namespace_of(found[0]), name_of(found[0])
        yield Cause(
            keeper,
            f"no node takes {some(keeper, found)}: {_unscheduled(found[0])}",
            symptom(seen, pods.workload_of(found[0])[1], f"{name} waits for a node"),
            f"kubectl --namespace {where} describe pod {name}; a sidecar's requests count: "
            "istio.istiod.values.global.proxy.resources",
            (
                reference(
                    found[0],
                    f".status.conditions[PodScheduled].message: {_unscheduled(found[0])}",
                ),
            ),
            link=_SCHEDULING,
            outside=bool(seen.failed_by(pods.workload_of(found[0])[1])),
            pods=frozenset(map(name_of, found)),
        )


@_rule(order=106, needs=("pods", "workloads"))
def pod_left_behind(seen: Observation) -> Iterator[Cause]:
    """A StatefulSet waits for a pod of an older template, which Kubernetes does not replace."""
    for workload in seen.workloads:
        kept = tuple(pods_of(seen, workload))
        for finding in preflight.stuck(preflight.Listed(workload, kept)):
            if finding.name != preflight.LEFT_BEHIND:
                continue
            name = name_of(workload)
            behind = [pod for pod in kept if reference(pod) == finding.where]
            yield Cause.of(
                finding,
                symptom(seen, name, "Kubernetes never replaces this pod by itself"),
                link=_STUCK,
                outside=bool(seen.failed_by(name)),
                breaks=seen.broken_by(behind),
            )


@_rule(
    order=142,
    needs=("pods", "services", "policies"),
    uses=("endpoints",),
    explained_by=(
        *CALLS_FAIL,
        *("workload-missing", "scaled-to-zero", "pods-missing", "pods-refused"),
        *("pod-opts-out", "network-policy-closes", "network-policy-locks-out", "pod-not-scheduled"),
    ),
)
def init_container_waits(seen: Observation) -> Iterator[Cause]:
    """An init container does not end, because of what it calls or for reasons of its own."""
    waiting = [(pod, _init(pod)) for pod in seen.pods if not pods.is_leaving(pod)]
    held = {name_of(pod): state for pod, state in waiting if state is not None}
    for keeper, found in by_workload(seen, [pod for pod, _ in waiting if name_of(pod) in held]):
        pod, state = found[0], held[name_of(found[0])]
        why = _why(seen, pod, state)
        failure = pods.problem_of(state)
        if not (why or failure or _since(state) > LONG):
            continue  # it merely runs
        what, evidence, remedy = why or ("", (), "")
        where, name = namespace_of(pod), name_of(pod)
        lines = seen.logs.get((name, state["name"]), ())[-1:]
        yield Cause(
            ref("Pod", name, where) if len(found) == 1 else keeper,
            f"the init container {state['name']}{of_many(keeper, found)} "
            + (what or (f"fails: {failure}" if failure else "does not end")),
            symptom(seen, pods.workload_of(pod)[1], f"{name} is {pods.ready_count(pod)}"),
            remedy or f"kubectl --namespace {where} logs {name} --container {state['name']}",
            (
                *(evidence or (_field(pod, state["name"], ""),)),
                *map(str, events_of(seen, pod)[-1:]),
                *(f"log of {state['name']}: {line}" for line in lines),
            ),
            link=_INIT,
            outside=bool(seen.failed_by(pods.workload_of(pod)[1])),
            pods=frozenset(map(name_of, found)),
        )


@_rule(order=144, needs=("pods",))
def job_not_completed(seen: Observation) -> Iterator[Cause]:
    """A Job's pod has done its work, and its sidecar, which is not native, keeps it running."""
    done = [pod for pod in seen.pods if pods.is_of_job(pod) and _has_done_its_work(pod)]
    for keeper, found in by_workload(seen, done):
        where, name = namespace_of(found[0]), name_of(found[0])
        spec = found[0]["spec"]["containers"]
        at = next(i for i, each in enumerate(spec) if each["name"] == PROXY)
        yield Cause(
            keeper,
            f"{some(keeper, found)} has done its work, and its sidecar, which is not native, does "
            "not end with it",
            "the Job never completes",
            f"end this one: kubectl --namespace {where} exec {name} --container {PROXY} -- "
            f"pilot-agent request POST quitquitquit; for those to come, {preflight.NATIVE}, or "
            f"mark the Job's pod template with the label {INJECT}: 'false'",
            (
                f"Pod {where}/{name} .spec.containers[{at}].name: {PROXY}",
                *(
                    f"Pod {where}/{name} .status.containerStatuses[{s['name']}].state.terminated"
                    f".exitCode: {s['state']['terminated']['exitCode']}"
                    for s in found[0]["status"]["containerStatuses"]
                    if s["name"] != PROXY
                ),
            ),
            link=_NATIVE,
        )


def _unscheduled(pod: Object) -> str:
    """Return why no node takes a pod; empty if one has."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return str(condition.get("message") or condition.get("reason") or "")
    return ""


def _has_done_its_work(pod: Object) -> bool:
    states = (pod.get("status") or {}).get("containerStatuses") or []
    others = [s for s in states if s["name"] != PROXY]
    over = bool(others) and all("terminated" in (s.get("state") or {}) for s in others)
    return over and any(c.name == PROXY and not c.native_sidecar for c in pods.containers(pod))


def _init(pod: Object) -> Object | None:
    """Return the status of the init container that a pod waits for to end; None if of none."""
    native = {c.name for c in pods.containers(pod) if c.native_sidecar}
    for state in (pod.get("status") or {}).get("initContainerStatuses") or []:
        now = state.get("state") or {}
        if state["name"] in native or (now.get("terminated") or {}).get("exitCode") == 0:
            continue
        runs = "running" in now or bool(pods.problem_of(state))
        return state if runs else None  # those after it have not begun
    return None


def _since(state: Object) -> timedelta:
    started = ((state.get("state") or {}).get("running") or {}).get("startedAt")
    if not started:
        return timedelta()
    return datetime.now(UTC) - datetime.fromisoformat(started)


def _why(seen: Observation, pod: Object, state: Object) -> tuple[str, tuple[str, ...], str] | None:
    """Return what an init container calls in vain, the fields that show it, and what helps."""
    for called, field, is_host in _called(seen, pod, state["name"]):
        service = next((s for s in seen.services if name_of(s) == called), None)
        where = namespace_of(pod)
        if service is None and _since(state) < LONG and not is_host:
            continue  # it may be the name of anything
        if service is None:
            said = f"waits for {called}, and there is no Service of that name"
            evidence = field, f"no {ref('Service', called, where)}"
            return said, evidence, "bring that Service back, or correct the name in the template"
        behind = [p for p in seen.pods if serves(service, p)]
        if _plaintext(pod) and (closed := _closed(seen, service, behind)):
            said = (
                f"calls {called} before the pod's sidecar runs, and so in plaintext, which "
                f"{called} refuses"
            )
            kind, remedy = _classic(pod)
            return said, (field, kind, closed), f"{remedy}; then restart the workload"
        starts = bool(behind) and all(map(_merely_starts, behind)) and _since(state) < LONG
        has_selector = bool(spec_of(service).get("selector"))
        if has_selector and not starts and not any(map(pods.is_ready, behind)):
            said = f"waits for {called}, behind which no pod is ready"
            look = f"kubectl --namespace {where} get pods,endpointslices"
            return said, (field, reference(service, ".spec.selector: no ready pod")), look
    return None


def _called(seen: Observation, pod: Object, name: str) -> Iterator[tuple[str, str, bool]]:
    """Yield what a container's own fields name: Services, or workloads of these names.

    Each comes with the field, without the rest of its text, which may hold a password; and with
    whether it is named as a host is.
    """
    known = {*map(name_of, seen.services), *(n for _, n in seen.parameters.application.workloads)}
    container = next(c for c in pod["spec"]["initContainers"] if c["name"] == name)
    texts = [(f".{k}[{i}]", t) for k in ("command", "args") for i, t in _texts(container, k)]
    texts += [
        (f".env[{i}].value", each["value"])
        for i, each in enumerate(container.get("env") or [])
        if each.get("value")
    ]
    for path, text in texts:
        for each in sorted(known, key=len, reverse=True):
            if re.search(rf"(?<![\w.-]){re.escape(each)}(?![\w-])", text):
                shown = each if text == each else f"… {each} …"
                yield each, _field(pod, name, f"{path}: {shown}"), _is_host(each, text)


def _is_host(name: str, text: str) -> bool:
    """Whether a text names something as one that is called, by what stands before or after it."""
    each = re.escape(name)
    return bool(re.search(rf"(?:-h |host[= ]|//|@){each}(?![\w-])|{each}(?::\d|\.\w)", text, re.I))


def _merely_starts(pod: Object) -> bool:
    return all(c.ready or c.starting for c in pods.containers(pod))


def _texts(container: Object, key: str) -> Iterator[tuple[int, str]]:
    yield from enumerate(container.get(key) or [])


def _field(pod: Object, name: str, rest: str) -> str:
    every = pod["spec"]["initContainers"]
    at = next(i for i, each in enumerate(every) if each["name"] == name)
    return reference(pod, f".spec.initContainers[{at}]{rest or f'.name: {name}'}")


def _plaintext(pod: Object) -> bool:
    """Whether a pod's init containers run without a sidecar beside them."""
    sidecar = next((c for c in pods.containers(pod) if c.name == PROXY), None)
    return sidecar is not None and not sidecar.native_sidecar


def _classic(pod: Object) -> tuple[str, str]:
    """Return the field that shows why a pod's sidecar is not native, and what helps."""
    if (chosen := annotations_of(pod).get(NATIVE_SIDECAR)) == "false":
        field = reference(pod, f".metadata.annotations.{NATIVE_SIDECAR}: {chosen}")
        return field, "take the annotation off the pod template"
    every = pod["spec"]["containers"]
    at = next(i for i, each in enumerate(every) if each["name"] == PROXY)
    return reference(pod, f".spec.containers[{at}].name: {PROXY}"), preflight.NATIVE


def _closed(seen: Observation, service: Object, behind: list[Object]) -> str:
    """Return the field by which a pod behind a Service refuses plaintext; empty if none does."""
    for pod in filter(has_sidecar, behind):
        for _, port in service_targets(service, pod):
            policies = seen.policies_on(labels_of(pod))
            found = mode_on_port(
                policies.peer_authentications, namespace_of(pod), labels_of(pod), port
            )
            captured = why_not_inbound(pod, port) is None
            if captured and found.mode == STRICT and found.reason is not None:
                return found.reason.text
    return ""
