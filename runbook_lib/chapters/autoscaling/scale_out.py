"""The load at which autoscalers scale out, and how sidecars move it: computed, nothing is asked.

For a target in percent the HorizontalPodAutoscaler's controller divides what a pod uses by what
its containers request, native sidecars included. A sidecar requests more than it uses, so the
application must work harder until the same percentage is reached. See `calculateRequests` in
https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/podautoscaler/replica_calculator.go

Amounts are thousandths of a core, or bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from runbook_lib.cluster import PROXY, quantities

Item = dict[str, Any]
"""An entry of `spec.metrics` (autoscaling/v2)."""

PodSpec = dict[str, Any]

Amounts = Mapping[str, int | None]
"""Requests by container; None for a container without one."""

RESOURCES = ("cpu", "memory")

TOLERANCE = 10
"""The controller leaves the replicas alone while usage is within so many percent of the target."""


class Remedy(StrEnum):
    """What can be done about a point that sidecars move."""

    CONTAINER_RESOURCE = "container-resource"
    AVERAGE_VALUE = "average-value"
    SIDECAR_REQUESTS = "sidecar-requests"


class Shift(StrEnum):
    """Where an autoscaler scales out, next to where it did without sidecars."""

    IN_PLACE = "as without sidecar"
    NEAR = f"near: within the controller's tolerance of {TOLERANCE} %"
    MOVED = "moved by the sidecar"
    WILL_MOVE = "will move with the first sidecar"
    UNKNOWN = "cannot be computed"


def amount(resource: str, quantity: str) -> int:
    """Return a Kubernetes quantity as an amount, rounded up as the controller does."""
    value = quantities.number(quantity)
    return math.ceil(value * 1000 if resource == "cpu" else value)


def quantity(resource: str, of: int) -> str:
    """Return an amount as a Kubernetes quantity: `70m`, `128Mi`, or bytes."""
    if resource == "cpu":
        return f"{of}m"
    return f"{of // 2**20}Mi" if of % 2**20 == 0 else str(of)


def words(resource: str, of: int | None) -> str:
    """Return an amount for people; bytes are rounded."""
    if of is None:
        return "unknown"
    if resource == "cpu" or of % 2**20 == 0:
        return quantity(resource, of)
    return f"{of / 2**20:.1f}Mi"


@dataclass(frozen=True)
class Requests:
    """What the containers of one pod request of one resource.

    Attributes:
        application: The workload's own containers.
        added: Containers that were injected; empty in a pod without sidecar.
        pod: The request of the pod as a whole, which goes before those of its containers; None
            if there is none.
    """

    application: Amounts
    added: Amounts
    pod: int | None = None

    def names(self, *, added: bool) -> tuple[str, ...]:
        """The pod's containers, with injected ones or without."""
        return (*self.application, *(self.added if added else ()))

    def of(self, container: str) -> int | None:
        """What one container requests; None if it has no request."""
        return {**self.application, **self.added}[container]

    @property
    def lacking(self) -> tuple[str, ...]:
        """The application's containers without a request: no percentage can be computed."""
        return tuple(name for name, each in self.application.items() if each is None)

    def total(self, *, added: bool) -> int | None:
        """The pod's request, with injected containers or without; None if one has no request."""
        if self.pod is not None:
            return self.pod
        counted = [*self.application.values(), *(self.added.values() if added else ())]
        known = [each for each in counted if each is not None]
        return sum(known) if known and len(known) == len(counted) else None


def requests_of(resource: str, template: PodSpec | None, pod: PodSpec | None) -> Requests:
    """Return what a workload's pods request.

    Args:
        resource: `cpu` or `memory`.
        template: The workload's own pod spec; None if it has none that can be read.
        pod: The spec of a running pod, which knows of injected containers and of defaults; None
            if none runs.
    """
    # A template may customise the sidecar under its name; the container is still not its own.
    own = [each["name"] for each in _containers(template or pod or {}) if each["name"] != PROXY]
    found = {each["name"]: _request(each, resource) for each in _containers(pod or template or {})}
    whole = _request(pod or template or {}, resource)
    return Requests(
        {name: found.get(name) for name in own},
        {name: each for name, each in found.items() if name not in own} if pod else {},
        whole,
    )


def _containers(spec: PodSpec) -> list[dict[str, Any]]:
    native = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    return [*(spec.get("containers") or []), *native]


def _request(holder: Mapping[str, Any], resource: str) -> int | None:
    resources = holder.get("resources") or {}
    # A limit alone becomes the request as well.
    for section in ("requests", "limits"):
        given = (resources.get(section) or {}).get(resource)
        if given is not None:
            return amount(resource, str(given))
    return None


@dataclass(frozen=True)
class Metric:
    """An entry of `spec.metrics`, as far as it matters here.

    Attributes:
        type: Such as `Resource` or `ContainerResource`.
        name: `cpu`, `memory`, or the name of a metric of another type.
        container: For `ContainerResource`, the container.
        percent: The target as a percentage of requests.
        value: The target as an amount; None for a percentage, and for other types.
    """

    type: str
    name: str
    container: str = ""
    percent: int | None = None
    value: int | None = None

    @classmethod
    def of(cls, item: Item) -> Metric:
        """Read an entry."""
        kind = str(item["type"])
        body = item.get(kind[:1].lower() + kind[1:]) or {}
        if kind not in ("Resource", "ContainerResource"):
            return cls(kind, str((body.get("metric") or {}).get("name", "")))
        target, name = body["target"], str(body["name"])
        value = target.get("averageValue")
        return cls(
            kind,
            name,
            str(body.get("container", "")),
            target.get("averageUtilization"),
            amount(name, str(value)) if value is not None else None,
        )

    @property
    def about(self) -> str:
        """The resource that it is about; empty if it is about something else."""
        about = self.type in ("Resource", "ContainerResource") and self.name in RESOURCES
        return self.name if about else ""

    @property
    def relative_to_pod(self) -> bool:
        """Whether it is a percentage of what the whole pod requests."""
        return self.type == "Resource" and self.percent is not None and bool(self.about)

    @property
    def text(self) -> str:
        """The metric in words."""
        if not self.about:
            return f"{self.type} {self.name}".strip()
        whose = f"of {self.container}" if self.container else "of the pod"
        if self.percent is not None:
            return f"{self.name} {whose}: {self.percent} %"
        return f"{self.name} {whose}: {words(self.name, self.value)}"

    def point(self, requests: Requests, *, added: bool) -> float | None:
        """Return the usage above which it asks for another pod; None if that cannot be known."""
        if self.container and self.container not in requests.names(added=added):
            return None
        if self.percent is None:
            return self.value
        base = requests.of(self.container) if self.container else requests.total(added=added)
        return None if base is None else base * self.percent / 100


@dataclass(frozen=True)
class Usage:
    """What a pod uses now, on average over the workload's pods.

    Attributes:
        application: By the workload's own containers.
        added: By injected ones.
    """

    application: int
    added: int


@dataclass(frozen=True)
class Scaling:
    """How one autoscaler judges one resource.

    Attributes:
        resource: `cpu` or `memory`.
        goal: What its owner wants: its metrics, or those before the runbook replaced them.
        metrics: Its metrics now.
        requests: What its pods request.
        usage: What they use; None if that is unknown.
        changed: Whether its owner has changed its metrics since the runbook replaced them.
    """

    resource: str
    goal: tuple[Metric, ...]
    metrics: tuple[Metric, ...]
    requests: Requests
    usage: Usage | None = None
    changed: bool = False

    @property
    def before(self) -> int | None:
        """Where it scales out without sidecars."""
        return _point(self.goal, self.requests, added=False)

    @property
    def unmended(self) -> int | None:
        """Where it would scale out with the sidecars that there are, left as it was."""
        return _point(self.goal, self.requests, added=True)

    @property
    def now(self) -> int | None:
        """Where it scales out now."""
        return _point(self.metrics, self.requests, added=True)

    @property
    def state(self) -> Shift:
        """How that compares."""
        if self.before is None:
            return Shift.UNKNOWN
        if self.relative_to_pod and not self.requests.added and self.requests.pod is None:
            return Shift.WILL_MOVE
        return compare(self.now, self.before)

    @property
    def needs_remedy(self) -> bool:
        """Whether something should be done about it."""
        return self.state in (Shift.MOVED, Shift.WILL_MOVE)

    @property
    def relative_to_pod(self) -> bool:
        """Whether one of its metrics is a percentage of what the whole pod requests."""
        return any(metric.relative_to_pod for metric in self.metrics)

    @property
    def reason(self) -> str:
        """Why it is so, and what to do about it if the runbook cannot."""
        if not self.changed:
            return self._reason
        return "; ".join(filter(None, [self._reason, "its owner changed it since the remedy"]))

    @property
    def _reason(self) -> str:
        own, blind = self.requests.application, "the autoscaler shows <unknown>"
        named = [metric.container for metric in self.metrics if metric.container]
        absent = [name for name in named if name not in self.requests.names(added=True)]
        if absent:
            return (
                f"the pods have no container {', '.join(absent)}, so {blind}: the application's "
                f"containers are {', '.join(own)}"
            )
        injected = [name for name in named if name not in own]
        if injected and self.state is Shift.UNKNOWN:
            return (
                f"it looks at {', '.join(injected)}, which is no container of the application: "
                "without sidecars there is nothing to compare with"
            )
        lacking = ", ".join(self.requests.lacking)
        if self.state is Shift.UNKNOWN and lacking:
            then = f", and {blind}" if self.now is None else " without sidecars"
            return (
                f"{lacking} has no {self.resource} request, so there is nothing to take a "
                f"percentage of{then}: set its request"
            )
        missing = [name for name, each in self.requests.added.items() if each is None]
        if self.state is Shift.MOVED and self.now is None and missing:
            return (
                f"{', '.join(missing)} has no {self.resource} request, so {blind}: one sidecar "
                "annotation alone replaces all of the sidecar's resources"
            )
        if self.requests.pod is not None:
            return "the pod has a request as a whole, which sidecars do not change"
        if self.state is Shift.IN_PLACE and len(named) == len(self.metrics) and not injected:
            return "it looks at the application's containers alone"
        return ""

    def after(self, remedy: Remedy, proxy: int) -> int | None:
        """Where it would scale out with a remedy.

        Args:
            remedy: The remedy.
            proxy: What the sidecar would request with smaller requests.
        """
        if remedy is not Remedy.SIDECAR_REQUESTS:
            return self.before
        return _point(self.goal, self.with_proxy(proxy), added=True)

    def with_proxy(self, proxy: int) -> Requests:
        """The pod's requests with another request of the sidecar."""
        requests = self.requests
        return Requests(requests.application, {**requests.added, PROXY: proxy}, requests.pod)


def compare(point: int | None, before: int) -> Shift:
    """Say how a point compares with the one without sidecar."""
    if point is None:
        return Shift.MOVED
    if abs(point - before) <= 1:  # rounding
        return Shift.IN_PLACE
    return Shift.NEAR if abs(point - before) * 100 <= TOLERANCE * before else Shift.MOVED


def _point(metrics: Sequence[Metric], requests: Requests, *, added: bool) -> int | None:
    """Return the lowest point, as one metric is enough to scale out.

    Those of single containers count as one: under a load spread like their requests all of them
    are reached together.
    """
    pods = [m.point(requests, added=added) for m in metrics if not m.container]
    single = [m.point(requests, added=added) for m in metrics if m.container]
    known = [point for point in single if point is not None]
    if single:
        pods.append(sum(known) if len(known) == len(single) else None)
    points = [point for point in pods if point is not None]
    return round(min(points)) if points and len(points) == len(pods) else None


def desired(items: Sequence[Item], kept: Sequence[Item]) -> list[Item]:
    """Return an autoscaler's metrics as its owner wants them: as they were before remedies.

    What its owner has added, removed or written again since a remedy is as it is now.

    Args:
        items: Its metrics now.
        kept: Its metrics before the runbook replaced them; empty if it never did.
    """
    percentages = [item for item in kept if Metric.of(item).relative_to_pod]
    written_again = {m.name for m in map(Metric.of, items) if m.relative_to_pod}
    result: list[Item] = []
    for item in items:
        metric = Metric.of(item)
        replaced = [each for each in percentages if Metric.of(each).name == metric.about]
        if item in kept or not _stands_for(metric, [Metric.of(each) for each in replaced]):
            result.append(item)
        elif metric.name not in written_again:
            result += [each for each in replaced if each not in result]
    return result


def _stands_for(metric: Metric, percentages: Sequence[Metric]) -> bool:
    """Whether a metric can be what a remedy has made of percentages of the same resource."""
    if not metric.container:
        return bool(percentages) and metric.value is not None
    return metric.container != PROXY and metric.percent in [each.percent for each in percentages]


def scalings(
    items: Sequence[Item],
    kept: Sequence[Item],
    requests: Mapping[str, Requests],
    usage: Mapping[str, Usage],
) -> tuple[Scaling, ...]:
    """Return how an autoscaler judges each resource that it looks at.

    Args:
        items: Its metrics now.
        kept: Its metrics before the runbook replaced them; empty if it never did.
        requests: What its pods request, by resource.
        usage: What they use, by resource, where that is known.
    """
    found = []
    for resource in RESOURCES:
        now, goal, before = (
            tuple(m for m in map(Metric.of, each) if m.about == resource)
            for each in (items, desired(items, kept), kept)
        )
        if now:
            changed = bool(before) and goal == now != before
            found.append(
                Scaling(resource, goal, now, requests[resource], usage.get(resource), changed)
            )
    return tuple(found)


def mended(
    items: Sequence[Item], kept: Sequence[Item], judged: Sequence[Scaling], remedy: Remedy
) -> list[Item]:
    """Return an autoscaler's metrics with a remedy; resources that are right stay as they are.

    Args:
        items: Its metrics now.
        kept: Its metrics before the runbook replaced them; empty if it never did.
        judged: The result of `scalings` about them.
        remedy: One that changes metrics.
    """
    goal = desired(items, kept)
    needing = {scaling.resource: scaling for scaling in judged if scaling.needs_remedy}
    remade = {name: list(_remade(goal, each, remedy)) for name, each in needing.items()}
    result: list[Item] = []
    for item in items:
        resource = Metric.of(item).about
        # All of a resource's at once, in place of the first: a remedy may have made several of one.
        result += remade.pop(resource, []) if resource in needing else [item]
    return result


def _remade(goal: Sequence[Item], scaling: Scaling, remedy: Remedy) -> Iterator[Item]:
    """Yield what a remedy makes of the metrics about one resource."""
    for item in goal:
        metric = Metric.of(item)
        if metric.about != scaling.resource:
            continue
        if not metric.relative_to_pod:
            yield item
        elif remedy is Remedy.CONTAINER_RESOURCE:
            yield from _container_resources(metric, scaling.requests)
        else:
            point = metric.point(scaling.requests, added=False)
            assert point is not None, "what is unknown needs no remedy"
            value = quantity(metric.name, round(point))
            target = {"type": "AverageValue", "averageValue": value}
            yield {"type": "Resource", "resource": {"name": metric.name, "target": target}}


def _container_resources(metric: Metric, requests: Requests) -> Iterator[Item]:
    """One for each of the application's containers: the first that is short scales out."""
    for container in requests.application:
        body = {
            "name": metric.name,
            "container": container,
            "target": {"type": "Utilization", "averageUtilization": metric.percent},
        }
        yield {"type": "ContainerResource", "containerResource": body}
