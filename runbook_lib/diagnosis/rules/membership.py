"""Rules about who is in the mesh: labels, and pods that have no sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.chapters.shared.preflight import few, workloads
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
from runbook_lib.diagnosis import Cause, Observation, pods_of, registry
from runbook_lib.lifecycle import Severity
from runbook_lib.mesh import injection_label, sidecars, traffic, wants_sidecar
from runbook_lib.mesh.policy import STRICT, why_not_inbound

_INJECTION = "https://istio.io/latest/docs/ops/common-problems/injection/"


_rule = partial(registry.rule, registry.Area.INJECTION, "02_label_namespace")

_SHOWN = 3
"""Pods that are shown of many."""

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
    if seen.namespace is None or seen.is_labelled or not seen.mesh_begun:
        return
    name, found = seen.parameters.application.namespace, seen.labels.get(key)
    without = [name_of(pod) for pod in _lacking(seen)]
    now = f"; already without: {few(without)}" if without else ""
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


@_rule(order=75, needs=("pods", "workloads", "policies"), uses=("configured",))
def pod_opts_out(seen: Observation) -> Iterator[Cause]:
    """The template of a listed workload keeps sidecars away, which its pods cannot do without."""
    web, strict = seen.parameters.application.web, _servers_are_strict(seen)
    for kind, name, workload in seen.wanted_workloads():
        kept = pods_of(seen, workload) if workload is not None else []
        lacking = [pod for pod in kept if pod in _lacking(seen)]
        is_web = (kind, name) == (web.kind, web.name)
        if workload is None or not lacking or not (strict or (is_web and seen.own_policies)):
            continue
        for finding in workloads.impossible(workloads.Listed(workload, tuple(kept))):
            answers = [*seen.failed_by(name), *(seen.let_through if is_web else ())]
            effect = (
                "without a sidecar no policy holds on its pods, and servers that take mutual TLS "
                "only refuse their calls"
            )
            yield Cause.of(
                finding,
                f"{effect}: {answers[0].text}" if answers else effect,
                link=_INJECTION,
                outside=bool(answers),
                breaks=frozenset(map(name_of, lacking)),
            )


@_rule(order=110, needs=("pods",), explained_by=(*NOT_INJECTED, "injector-leaves-out"))
def pod_without_sidecar(seen: Observation) -> Iterator[Cause]:
    """Pods that should be in the mesh and are not; those of Jobs end by themselves."""
    lacking = [p for p in _lacking(seen) if wants_sidecar(p) and not pods.is_of_job(p)]
    if not seen.is_labelled or not lacking:
        return
    names = [name_of(pod) for pod in lacking]
    web = {name_of(pod) for pod in seen.web_pods}
    begun = bool(seen.in_mesh)
    yield Cause(
        few([ref("Pod", name_of(pod), namespace_of(pod)) for pod in lacking]),
        "pods run without a sidecar: they were created before the label, or past the webhook",
        f"no policy of the mesh has an effect on {few(names)}, and mutual TLS does not reach it",
        "run notebook 02_label_namespace: its step injection-restart replaces these pods",
        tuple(
            f"Pod {namespace_of(pod)}/{name_of(pod)} READY "
            f"{pods.ready_count(pod)}, no {PROXY} in containers or initContainers"
            for pod in lacking[:_SHOWN]
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
