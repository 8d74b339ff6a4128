"""How long workloads may take to come back: by their probes, and by their load balancer's checks.

A limit that is shorter would call a restart failed that only takes its time.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator

from runbook_lib.cluster import NETWORKING, Object, annotations_of
from runbook_lib.lifecycle import Context

LEAST = 600
"""Seconds to wait for a rollout at least: images are pulled, and a node may have to be added."""

_GRACE = 30
"""Seconds that Kubernetes gives a pod to end, where its spec does not say."""

_ALB = "alb.ingress.kubernetes.io/"
_NLB = "service.beta.kubernetes.io/aws-load-balancer-"


def seconds_to_start(template: Object) -> float:
    """Return how long a pod may take to become ready before its own probes call it broken.

    Init containers have no limit, so their time is not in it.
    """
    return max(map(_starting, template["spec"]["containers"]), default=0.0)


def seconds_to_replace(workload: Object) -> float:
    """Return how long a workload may take to replace all its pods, by their own probes."""
    spec = workload["spec"]
    start = seconds_to_start(spec["template"]) + spec.get("minReadySeconds", 0)
    replicas = spec.get("replicas", 1)
    each = start + seconds_to_end(spec["template"])
    if workload["kind"] == "Deployment":
        strategy = spec.get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return float(each)
        unavailable = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%")
        more = _share(max_surge(workload), replicas, up=True)
        step = max(1, _share(unavailable, replicas, up=False) + more)
        return float(math.ceil(replicas / step) * each)
    return float(replicas * each)


def seconds_to_end(template: Object) -> int:
    """Return how long a pod has to end by itself."""
    found: int = template["spec"].get("terminationGracePeriodSeconds", _GRACE)
    return found


def max_surge(workload: Object) -> int | str:
    """Return how many new pods start before old ones end, a number or a percentage.

    0 of what ends a pod first: Deployments that recreate, and every other kind.
    """
    strategy = workload["spec"].get("strategy") or {}
    if workload["kind"] != "Deployment" or strategy.get("type") == "Recreate":
        return 0
    found: int | str = (strategy.get("rollingUpdate") or {}).get("maxSurge", "25%")
    return 0 if found == "0%" else found


def seconds_away(workload: Object, found: Iterable[Object]) -> int:
    """Return how long a workload of one pod is away while that is replaced.

    The new pod will take as long to start as the one before did; where that cannot be told, as long
    as its probes allow. The old one has its grace period to end.

    Args:
        workload: As it is.
        found: Its pods.
    """
    template = workload["spec"]["template"]
    took = [seconds for pod in found if (seconds := _took_to_start(pod)) is not None]
    start = max(took) if took else seconds_to_start(template)
    return math.ceil(start) + seconds_to_end(template)


def _took_to_start(pod: Object) -> float | None:
    """Return the seconds from a pod's creation until it was ready; None if it was so again since.

    A container that was restarted has made the pod ready anew.
    """
    status = pod.get("status") or {}
    if any(each.get("restartCount") for each in status.get("containerStatuses") or []):
        return None
    created = pod["metadata"].get("creationTimestamp")
    for condition in status.get("conditions") or []:
        since = condition.get("lastTransitionTime")
        if condition["type"] == "Ready" and condition["status"] == "True" and created and since:
            ready, made = map(dt.datetime.fromisoformat, (since, created))
            return (ready - made).total_seconds()
    return None


def rollout_limit(context: Context, *workloads: Object | None) -> float:
    """Return for how many seconds to wait until the pods of workloads are replaced, one by one.

    It is `timeouts.rollout`; left out, what their probes allow, and time for images and nodes
    besides.
    """
    given = context.parameters.timeouts.rollout
    if given is not None:
        return given
    return LEAST + sum(seconds_to_replace(each) for each in workloads if each is not None)


def seconds_until_served(context: Context) -> float:
    """Return how long a load balancer may take to send requests to a new web pod.

    Health checks have to pass as often as its annotations say, or by default: every 15 seconds
    twice for an Application Load Balancer, every 10 seconds thrice for a Network Load Balancer. See
    https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/ingress/annotations/.
    """
    return max(_health_checks(context), default=0.0)


def _health_checks(context: Context) -> Iterator[float]:
    namespace = context.parameters.application.namespace
    for ingress in context.cluster.list(NETWORKING, "Ingress", namespace):
        notes = annotations_of(ingress)
        named = (ingress["spec"].get("ingressClassName"), notes.get("kubernetes.io/ingress.class"))
        if "alb" in named:
            interval = _number(notes.get(f"{_ALB}healthcheck-interval-seconds"), 15)
            count = _number(notes.get(f"{_ALB}healthy-threshold-count"), 2)
            yield float(count * interval)
    for service in context.cluster.list("v1", "Service", namespace):
        notes = annotations_of(service)
        if service["spec"].get("type") == "LoadBalancer":
            interval = _number(notes.get(f"{_NLB}healthcheck-interval"), 10)
            count = _number(notes.get(f"{_NLB}healthcheck-healthy-threshold"), 3)
            yield float(count * interval)


def _starting(container: Object) -> float:
    startup, readiness = container.get("startupProbe"), container.get("readinessProbe")
    seconds = 0.0
    if startup is not None:
        seconds += startup.get("initialDelaySeconds", 0)
        seconds += startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3)
    if readiness is not None:
        seconds += readiness.get("initialDelaySeconds", 0) + readiness.get("periodSeconds", 10)
    return seconds


def _share(value: int | str, of: int, *, up: bool) -> int:
    """Return a number of pods, or a percentage of them as Kubernetes rounds it."""
    if isinstance(value, int):
        return value
    exact = of * int(value.removesuffix("%")) / 100
    return math.ceil(exact) if up else math.floor(exact)


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default
