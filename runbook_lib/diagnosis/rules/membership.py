"""Rules about who is in the mesh: labels, and pods that have no sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.cluster import (
    INJECTION_LABEL,
    PROXY,
    REVISION_LABEL,
    Object,
    labels_of,
    name_of,
    namespace_of,
    pods,
    ref,
)
from runbook_lib.diagnosis import Cause, Observation, registry
from runbook_lib.lifecycle import Severity
from runbook_lib.mesh import injection_label, sidecars, traffic, wants_sidecar
from runbook_lib.mesh.policy import STRICT, why_not_inbound

_INJECTION = "https://istio.io/latest/docs/ops/common-problems/injection/"


_rule = partial(registry.rule, registry.Area.INJECTION, "02_label_namespace")

NOT_INJECTED = ("istiod-down", "label-missing", "webhook-missing", "webhook-unreachable")
"""Why new pods get no sidecar."""


@_rule(order=60)
def two_labels(seen: Observation) -> Iterator[Cause]:
    """Two labels that contradict each other; the older one wins."""
    desired, _ = injection_label(seen.parameters)
    (other,) = {INJECTION_LABEL, REVISION_LABEL} - {desired}
    if not {desired, other} <= seen.labels.keys():
        return
    name = seen.parameters.application.namespace
    yield Cause(
        ref("Namespace", name),
        f"the namespace carries both labels: {INJECTION_LABEL} wins (IST0123)",
        f"the revision that injects is not the one that {REVISION_LABEL} names",
        f"kubectl label namespace {name} {other}-",
        tuple(
            f"Namespace {name} .metadata.labels.{key}: {seen.labels[key]}"
            for key in (desired, other)
        ),
        link="https://istio.io/latest/docs/reference/config/analysis/ist0123/",
    )


@_rule(order=70, needs=("pods", "policies"))
def label_missing(seen: Observation) -> Iterator[Cause]:
    """The label is gone, or says no, although the application is in the mesh."""
    key, value = injection_label(seen.parameters)
    found = seen.labels.get(key)
    if seen.namespace is None or found == value or not seen.mesh_begun:
        return
    name = seen.parameters.application.namespace
    without = [name_of(pod) for pod in _lacking(seen)]
    now = f"; already without: {', '.join(without)}" if without else ""
    yield Cause(
        ref("Namespace", name),
        "the namespace does not ask for sidecars",
        f"every pod that is created from now on has no sidecar{now}",
        f"run notebook 02_label_namespace, or: kubectl label namespace {name} "
        f"{key}={value} --overwrite",
        (f"Namespace {name} .metadata.labels.{key}: {found or 'missing'}",),
        link=_INJECTION,
        outside=bool(seen.let_through) and bool(without),
    )


@_rule(order=110, needs=("pods",), explained_by=NOT_INJECTED)
def pod_without_sidecar(seen: Observation) -> Iterator[Cause]:
    """Pods that should be in the mesh and are not."""
    key, value = injection_label(seen.parameters)
    lacking = [pod for pod in _lacking(seen) if wants_sidecar(pod)]
    if seen.labels.get(key) != value or not lacking:
        return
    names = [name_of(pod) for pod in lacking]
    web = {name_of(pod) for pod in seen.web_pods}
    begun = bool(seen.in_mesh)
    yield Cause(
        ", ".join(ref("Pod", name_of(pod), namespace_of(pod)) for pod in lacking),
        "pods run without a sidecar: they were created before the label, or past the webhook",
        "no policy of the mesh has an effect on "
        f"{', '.join(names)}, and mutual TLS does not reach it",
        "run notebook 02_label_namespace: its step injection-restart replaces these pods",
        tuple(
            f"Pod {namespace_of(pod)}/{name_of(pod)} READY "
            f"{pods.ready_count(pod)}, no {PROXY} in containers or initContainers"
            for pod in lacking
        ),
        link=_INJECTION,
        severity=Severity.FAULT if begun else Severity.NOT_DONE,
        outside=bool(web & set(names)) and bool(seen.let_through),
        breaks=frozenset(names if _servers_are_strict(seen) else ()),
    )


def _lacking(seen: Observation) -> list[Object]:
    """Return the pods without a sidecar that stay: those about to end need none."""
    return [p for p in seen.pods if not pods.has_sidecar(p) and not pods.is_leaving(p)]


def _servers_are_strict(seen: Observation) -> bool:
    """Whether something in the mesh refuses those that call it without a sidecar."""
    namespace = seen.parameters.application.namespace
    return any(
        why_not_inbound(pod, port) is None
        and traffic.mode_on_port(seen.policies_on(labels_of(pod)), namespace, port) == STRICT
        for pod in seen.in_mesh
        for port in sidecars.ports(pod)
    )
