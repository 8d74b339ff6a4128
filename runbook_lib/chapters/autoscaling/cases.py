"""Autoscalers next to what sidecars do to them: the cases to compare, as rows and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runbook_lib.chapters.autoscaling.scale_out import (
    Metric,
    Remedy,
    Requests,
    Scaling,
    Shift,
    compare,
    words,
)
from runbook_lib.lifecycle import aligned


@dataclass(frozen=True)
class Part:
    """A container in a row of the comparison.

    Attributes:
        name: The container.
        amount: What it requests.
        counted: Whether the autoscaler counts it.
        added: Whether it was injected.
    """

    name: str
    amount: int | None
    counted: bool = True
    added: bool = False


@dataclass(frozen=True)
class Comparison:
    """One line of the comparison: what is counted, and the point that results.

    Attributes:
        label: Which case it is.
        parts: The containers.
        point: Where the autoscaler scales out.
        state: How that compares with the pod without sidecar.
        remark: What else to know; may be empty.
        chosen: For a remedy, whether it is the one of the parameters; None for other cases.
    """

    label: str
    parts: tuple[Part, ...]
    point: int | None
    state: Shift
    remark: str = ""
    chosen: bool | None = None


def rows(scaling: Scaling, chosen: Remedy, proxy: int) -> Iterator[Comparison]:
    """Yield the cases to compare: without sidecar, with it, and mended.

    Args:
        scaling: The autoscaler and its resource.
        chosen: The remedy of the parameters.
        proxy: What the sidecar would request with smaller requests.
    """
    before, now = scaling.before, scaling.now
    own, all_parts = _parts(scaling.requests, added=False), _parts(scaling.requests, added=True)
    if before is None:
        yield Comparison("now", all_parts, now, scaling.state, scaling.reason)
        return
    yield Comparison("without sidecar", own, before, Shift.IN_PLACE)
    if not scaling.needs_remedy:
        if scaling.requests.added and scaling.goal != scaling.metrics:
            left = compare(scaling.unmended, before)
            yield Comparison("with it, left alone", all_parts, scaling.unmended, left)
        yield Comparison("now", _counted(scaling, all_parts), now, scaling.state, scaling.reason)
        return
    if scaling.requests.added:
        yield Comparison("with the sidecar", all_parts, now, scaling.state, scaling.reason)
    for remedy in Remedy:
        parts = all_parts
        if remedy is Remedy.CONTAINER_RESOURCE:
            parts = tuple(Part(p.name, p.amount, not p.added, p.added) for p in parts)
        elif remedy is Remedy.SIDECAR_REQUESTS:
            parts = _parts(scaling.with_proxy(proxy), added=True)
        point = scaling.after(remedy, proxy)
        remark = _load(scaling, remedy, point)
        yield Comparison(
            remedy.value, parts, point, compare(point, before), remark, remedy is chosen
        )


def application_load(scaling: Scaling, remedy: Remedy, point: int | None) -> int | None:
    """What the application itself uses when a remedy's point is reached; None if unknown."""
    if remedy is Remedy.CONTAINER_RESOURCE or point is None:
        return point
    return None if scaling.usage is None else max(0, point - scaling.usage.added)


def _load(scaling: Scaling, remedy: Remedy, point: int | None) -> str:
    load = application_load(scaling, remedy, point)
    if load is None or load == point or not scaling.requests.added:
        return ""
    return f"the application at {words(scaling.resource, load)}, as the sidecar uses the rest"


def _counted(scaling: Scaling, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    containers = {metric.container for metric in scaling.metrics}
    if "" in containers:
        return parts
    return tuple(Part(p.name, p.amount, p.name in containers, p.added) for p in parts)


def _parts(requests: Requests, *, added: bool) -> tuple[Part, ...]:
    own = [Part(name, each) for name, each in requests.application.items()]
    more = [Part(name, each, added=True) for name, each in requests.added.items()]
    return tuple([*own, *more] if added else own)


@dataclass(frozen=True)
class Condition:
    """What a HorizontalPodAutoscaler's controller says about it in `status.conditions`.

    Attributes:
        kind: `AbleToScale` or `ScalingActive`.
        status: `True`, `False` or `Unknown`.
        reason: Why, in one word; empty where the controller has not looked yet.
        message: Why, in words.
    """

    kind: str
    status: str
    reason: str
    message: str

    @property
    def holds(self) -> bool:
        """Whether it is as it should be."""
        return self.status == "True"

    @property
    def undecided(self) -> bool:
        """Whether the controller has not looked at it yet, or does not know."""
        return self.status == "Unknown"

    @property
    def disabled(self) -> bool:
        """Whether the target has no replicas, so that there is nothing to scale."""
        return self.reason == "ScalingDisabled"

    @property
    def lacks_metrics(self) -> bool:
        """Whether a metric could not be read, of whatever type: `FailedGetResourceMetric`, ..."""
        return self.reason.startswith("FailedGet") and self.reason.endswith("Metric")

    def __str__(self) -> str:
        """As `ScalingActive is False: reason: message`."""
        why = ": ".join(filter(None, [self.reason, self.message]))
        return f"{self.kind} is {self.status}: {why}"


@dataclass(frozen=True)
class Autoscaler:
    """A HorizontalPodAutoscaler, next to the workload that it scales.

    Attributes:
        name: Its name.
        target: The workload, as `Kind/name`.
        metrics: All of its metrics.
        scalings: How it judges CPU and memory; empty if it does not look at them.
        replicas: How many pods there are, and how many it wants.
        conditions: Those of its own that do not hold.
        broken: What else stands in its way, such as a target that is missing.
        notes: What else to know about it.
    """

    name: str
    target: str
    metrics: tuple[Metric, ...]
    scalings: tuple[Scaling, ...]
    replicas: str
    conditions: tuple[Condition, ...] = ()
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What stands in its way, in words."""
        return (*self.broken, *map(str, self.conditions))

    @property
    def needs_remedy(self) -> bool:
        """Whether sidecars move a point of its."""
        return any(scaling.needs_remedy for scaling in self.scalings)

    @property
    def computed(self) -> bool:
        """Whether it is known where it scales out; if not, sidecars are not the cause."""
        states = {scaling.state for scaling in self.scalings}
        return bool(states) and Shift.UNKNOWN not in states

    @property
    def troubles(self) -> tuple[str, ...]:
        """What no remedy mends: why points cannot be computed, and its own conditions."""
        unknown = [each.reason for each in self.scalings if each.state is Shift.UNKNOWN]
        return (*filter(None, unknown), *self.problems)


@dataclass(frozen=True)
class ScaleOut:
    """All autoscalers of a namespace, and where they scale out.

    Attributes:
        namespace: The namespace.
        autoscalers: By name.
        chosen: The remedy of the parameters.
        proxy: What a sidecar would request with smaller requests, by resource.
    """

    namespace: str
    autoscalers: tuple[Autoscaler, ...]
    chosen: Remedy
    proxy: Mapping[str, int]

    @property
    def title(self) -> str:
        """What it shows."""
        return f"Where the autoscalers in {self.namespace} scale out, per pod"

    @property
    def summary(self) -> str:
        """The whole of it in sentences, as an alternative to the picture."""
        return " ".join(self._sentences()) or self.nothing

    @property
    def nothing(self) -> str:
        """What to say when there is nothing to compare."""
        if not self.autoscalers:
            return f"There is no HorizontalPodAutoscaler in {self.namespace}."
        if any(metric.about for each in self.autoscalers for metric in each.metrics):
            return f"No point can be computed in {self.namespace}."
        return f"No autoscaler in {self.namespace} looks at CPU or memory."

    @property
    def compared(self) -> Iterator[tuple[Autoscaler, Scaling, tuple[Comparison, ...]]]:
        """Every resource that an autoscaler looks at, with the cases to compare."""
        for autoscaler in self.autoscalers:
            for scaling in autoscaler.scalings:
                cases = rows(scaling, self.chosen, self.proxy[scaling.resource])
                yield autoscaler, scaling, tuple(cases)

    def heading(self, autoscaler: Autoscaler, scaling: Scaling) -> str:
        """Name an autoscaler and what it looks at."""
        metrics = ", ".join(metric.text for metric in scaling.metrics)
        return f"{autoscaler.name} scales {autoscaler.target} by {metrics}"

    def __str__(self) -> str:
        """The comparison as text, a line a case."""
        blocks = [self.title]
        for autoscaler, scaling, cases in self.compared:
            blocks.append(f"\n{self.heading(autoscaler, scaling)}")
            lines = [
                (
                    f"{'> ' if row.chosen else '  '}{row.label}",
                    " + ".join(_part_text(scaling.resource, part) for part in row.parts),
                    f"above {words(scaling.resource, row.point)}",
                    ": ".join(filter(None, [row.state, row.remark])),
                )
                for row in cases
            ]
            blocks += aligned(lines)
            if scaling.usage:
                blocks.append(f"  {usage_text(scaling)}")
        return "\n".join(blocks if len(blocks) > 1 else [*blocks, self.nothing])

    def _sentences(self) -> Iterator[str]:
        for autoscaler, scaling, cases in self.compared:
            texts = "; ".join(
                f"{row.label}: above {words(scaling.resource, row.point)} ({row.state})"
                for row in cases
            )
            yield f"{self.heading(autoscaler, scaling)}: {texts}."


def usage_text(scaling: Scaling) -> str:
    """Say what the pods use now; empty if that is unknown."""
    if scaling.usage is None:
        return ""
    resource, usage = scaling.resource, scaling.usage
    more = f", sidecar {words(resource, usage.added)}" if scaling.requests.added else ""
    return f"in use now: application {words(resource, usage.application)}{more}"


def _part_text(resource: str, part: Part) -> str:
    requested = "no request" if part.amount is None else words(resource, part.amount)
    text = f"{part.name} {requested}"
    return text if part.counted else f"({text})"
