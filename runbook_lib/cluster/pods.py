"""Read pods: which containers they run, whether they are ready, and why not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.names import PROXY
from runbook_lib.cluster.objects import Object, labels_of, name_of

_NORMAL_WAITING = ("ContainerCreating", "PodInitializing")

TELLING_EVENTS = (
    "BackOff",
    "Failed",
    "FailedAttachVolume",
    "FailedCreate",
    "FailedMount",
    "FailedScheduling",
    "Unhealthy",
)
"""Reasons of events that explain why a pod is missing or not ready."""


@dataclass(frozen=True)
class Container:
    """A container that runs as long as its pod.

    Attributes:
        name: Its name.
        ready: Whether it passes its readiness probe.
        native_sidecar: Whether it is an init container that keeps running; kubectl's READY column
            counts it like any other, but it is not listed among `containers`.
        problem: Why it is not running, such as `ImagePullBackOff: ...`; empty if it is.
        waiting: The reason for which the kubelet does not start it, in its own word.
        starting: Whether it is on its way, and nothing has gone wrong with it so far.
    """

    name: str
    ready: bool
    native_sidecar: bool
    problem: str
    waiting: str = ""
    starting: bool = False


def images(items: Iterable[Object]) -> tuple[str, ...]:
    """Return the container images that nodes pull for pods and workloads, each once."""
    found = (each.get("image", "") for item in items for each in _declared(item))
    return tuple(dict.fromkeys(image for image in found if image))


def tag_of(image: str) -> str:
    """Return an image's tag; empty if it has none. A digest may follow, a registry have a port."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def minor_of(version: str) -> tuple[int, int] | None:
    """Return major and minor of a version such as `v1.33.4-eks-1234`; None if it is none."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


def image_of(item: Object, container: str) -> str:
    """Return a container's image, of a pod or a workload; empty if it has no such container."""
    found = (each.get("image", "") for each in _declared(item) if each["name"] == container)
    return next(found, "")


def _declared(item: Object) -> list[dict[str, Any]]:
    """Return the containers of a pod or of a workload's template; none of other objects."""
    spec = item.get("spec") or {}
    spec = (spec.get("jobTemplate") or {}).get("spec") or spec  # of a CronJob
    spec = (spec.get("template") or {}).get("spec") or spec
    if not isinstance(spec.get("containers"), list):
        return []
    return [*(spec.get("initContainers") or []), *spec["containers"]]


def workload_of(pod: Object) -> tuple[str, str]:
    """Return kind and name of what keeps a pod: its controller, a Deployment if there is one."""
    metadata = pod["metadata"]
    owner = next((o for o in metadata.get("ownerReferences") or [] if o.get("controller")), None)
    if owner is None:
        return "Pod", metadata["name"]
    template = labels_of(pod).get("pod-template-hash")
    if owner["kind"] == "ReplicaSet" and template:
        return "Deployment", owner["name"].removesuffix(f"-{template}")
    return owner["kind"], owner["name"]


def is_of_job(pod: Object) -> bool:
    """Whether the pod ends by itself once its work is done, so that no one restarts it."""
    return workload_of(pod)[0] == "Job"


def containers(pod: Object) -> list[Container]:
    """Return the pod's long-running containers; init containers that end are left out.

    Native sidecars are init containers with `restartPolicy: Always`, see
    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/.
    """
    spec, status = pod["spec"], pod.get("status") or {}
    native = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    found = []
    for section, declared in (("initContainerStatuses", native), ("containerStatuses", None)):
        statuses = {item["name"]: item for item in status.get(section) or []}
        for item in spec["containers"] if declared is None else declared:
            state = statuses.get(item["name"], {})
            found.append(
                Container(
                    name=item["name"],
                    ready=bool(state.get("ready")),
                    native_sidecar=declared is not None,
                    problem=problem_of(state),
                    waiting=_waiting(state).get("reason", ""),
                    starting=not (
                        state.get("started") or state.get("restartCount") or problem_of(state)
                    ),
                )
            )
    return found


def ready_count(pod: Object) -> str:
    """Return what kubectl shows in its READY column, such as `2/2`."""
    all_containers = containers(pod)
    return f"{sum(c.ready for c in all_containers)}/{len(all_containers)}"


def has_sidecar(pod: Object) -> bool:
    """Whether the pod carries Istio's proxy, native sidecar or not."""
    return any(container.name == PROXY for container in containers(pod))


def has_ready_sidecar(pod: Object) -> bool:
    """Whether the pod carries Istio's proxy, and it serves."""
    return any(container.name == PROXY and container.ready for container in containers(pod))


def is_leaving(pod: Object) -> bool:
    """Whether the pod has been deleted and is there only until it has ended, in its own time."""
    return "deletionTimestamp" in pod["metadata"]


def age(pod: Object) -> float:
    """Return for how many seconds a pod has been there; 0 if that is not known."""
    created = pod["metadata"].get("creationTimestamp")
    if created is None:
        return 0.0
    return (datetime.now(UTC) - datetime.fromisoformat(str(created))).total_seconds()


def is_ready(pod: Object) -> bool:
    """Whether the pod serves: its Ready condition holds and it is not on its way out."""
    return not is_leaving(pod) and _condition(pod, "Ready") == "True"


def describe(pod: Object) -> str:
    """Return the pod on one line: name, READY and, unless it is ready, why not."""
    state = "ready" if is_ready(pod) else why_not_ready(pod)
    return f"{name_of(pod)} {ready_count(pod)} {state}"


def why_not_ready(pod: Object) -> str:
    """Return why a pod is not ready, from the pod alone; `explain` looks at events too."""
    if is_leaving(pod):
        return "terminating"
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"not scheduled: {condition.get('message') or condition.get('reason')}"
    problems = [f"{c.name}: {c.problem}" for c in containers(pod) if c.problem]
    problems += _init_problems(pod)
    if problems:
        return "; ".join(problems)
    waiting = [c.name for c in containers(pod) if not c.ready]
    if waiting:
        return f"waiting for {', '.join(waiting)} to pass its readiness probe"
    gates = [
        gate["conditionType"]
        for gate in pod["spec"].get("readinessGates") or []
        if _condition(pod, gate["conditionType"]) != "True"
    ]
    if gates:
        return f"waiting for readiness gate {', '.join(gates)}"
    return str(status.get("reason") or status.get("phase") or "just created").lower()


def explain(cluster: Cluster, namespace: str, names: list[str]) -> list[str]:
    """Return telling events about pods or workloads, such as a webhook that refuses pods.

    Args:
        cluster: Where to look.
        namespace: The objects' namespace.
        names: Names of pods, ReplicaSets, StatefulSets, ...

    Returns:
        `name: Reason: message`, each text once.
    """
    found = [
        f"{name}: {event}"
        for name in names
        for event in cluster.events(namespace, name)
        if event.reason in TELLING_EVENTS
    ]
    return list(dict.fromkeys(found))


def _waiting(state: dict[str, Any]) -> dict[str, Any]:
    return (state.get("state") or {}).get("waiting") or {}


def problem_of(state: dict[str, Any]) -> str:
    """Say why a container is not running; nothing while it is, or is being started normally.

    Args:
        state: Its status.
    """
    waiting = _waiting(state)
    ended = (state.get("state") or {}).get("terminated")
    if waiting.get("reason") not in (None, *_NORMAL_WAITING):
        last = (state.get("lastState") or {}).get("terminated")
        code = f" (last exit code {last['exitCode']})" if last else ""
        return _join(waiting["reason"], waiting.get("message")) + code
    if ended:
        reason = ended.get("reason") or "Ended"
        return _join(f"{reason}, exit code {ended['exitCode']}", ended.get("message"))
    return ""


def _init_problems(pod: Object) -> list[str]:
    """Say which init container that should end fails, such as istio-init without NET_ADMIN."""
    native = {container.name for container in containers(pod) if container.native_sidecar}
    problems = []
    for state in (pod.get("status") or {}).get("initContainerStatuses") or []:
        ended = (state.get("state") or {}).get("terminated")
        problem = problem_of(state)
        if state["name"] not in native and problem and not (ended and ended["exitCode"] == 0):
            problems.append(f"{state['name']}: {problem}")
    return problems


def _condition(pod: Object, kind: str) -> str:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == kind:
            return str(condition["status"])
    return "Unknown"


def _join(reason: str, message: str | None) -> str:
    return f"{reason}: {' '.join(message.split())}" if message else reason
