"""Sidecars of another revision, without an istiod, or much older than theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from runbook_lib.chapters.shared import preflight
from runbook_lib.cluster import (
    APPS,
    PROXY,
    REVISION_LABEL,
    WORKLOADS,
    Object,
    annotations_of,
    has_sidecar,
    labels_of,
    name_of,
    pods,
    ref,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.mesh import has_ended, revisions

_STATUS = "sidecar.istio.io/status"
"""The injector writes into it, as JSON, of which revision it is."""


class _Sidecars(NamedTuple):
    """Pods of one workload whose sidecars are alike.

    Attributes:
        kind: The workload's kind.
        name: Its name.
        revision: The sidecars' revision.
        sign: The field that shows it.
        image: The sidecars' image.
    """

    kind: str
    name: str
    revision: str
    sign: str
    image: str


def sidecars(context: Context) -> Iterator[Finding]:
    """Find pods of the application whose sidecars the policies reach late, otherwise or never."""
    own = _own_revision(context)
    istiods = _istiods(context)
    for each, names in _sidecars(context).items():
        istiod = istiods.get(each.revision)
        if istiod is None:
            yield _orphaned(context, each, names)
        elif each.revision != own:
            yield _of_another(context, each, names, istiod)
        elif older := _older(each.image, pods.image_of(istiod, "discovery")):
            yield Finding(
                _where(context, names),
                f"the sidecar is {older} of istiod",
                "Istio supports sidecars of one minor version before istiod's: an older one may "
                "read a policy otherwise",
                f"replace the pods: {_restart(context, each)}",
                (
                    f"image of {PROXY}: {each.image}",
                    f"image of {reference(istiod)}: {pods.image_of(istiod, 'discovery')}",
                ),
                severity=Severity.NOTE,
                name="stale-sidecar",
                link="https://istio.io/latest/docs/releases/supported-releases/",
            )


def _orphaned(context: Context, each: _Sidecars, names: list[str]) -> Finding:
    """Say that a sidecar has no istiod: it gets no policy, and soon has no certificate."""
    own = _own_revision(context)
    first = each.revision == own
    return Finding(
        _where(context, names),
        f"the sidecar is of revision {each.revision}, and no istiod of that revision is there",
        "no policy arrives there, and its certificate ends within 24 hours: then calls that need "
        "mutual TLS fail",
        "run 01_install_istio, which installs that istiod"
        if first
        else f"replace the pods, once their namespace is labelled for revision {own} "
        f"(02_label_namespace): {_restart(context, each)}",
        (each.sign, f"no Deployment with the labels app=istiod, {REVISION_LABEL}={each.revision}"),
        severity=Severity.NOTE if first else Severity.REFUSES,
        name="stale-sidecar",
    )


def _of_another(context: Context, each: _Sidecars, names: list[str], istiod: Object) -> Finding:
    """Say that another istiod than the parameters' tells a sidecar its policies."""
    return Finding(
        _where(context, names),
        f"the sidecar is of revision {each.revision}, and istio.revision is "
        f"{context.parameters.istio.revision}",
        f"{reference(istiod)} tells it the policies, and that one's mesh config says which "
        "namespace holds for the whole mesh",
        f"replace the pods, so that the new ones are of this revision: {_restart(context, each)}",
        (each.sign,),
        parameter=f"istio.revision: {each.revision}, to work with that istiod",
        severity=Severity.NOTE,
        name="stale-sidecar",
    )


def _own_revision(context: Context) -> str:
    return revisions.of_cluster(context.cluster, context.parameters).istio.revision


def _sidecars(context: Context) -> Mapping[_Sidecars, list[str]]:
    """Return the names of the application's pods with sidecars, alike ones together."""
    found: dict[_Sidecars, list[str]] = {}
    for pod in context.cluster.list("v1", "Pod", context.parameters.application.namespace):
        if not has_sidecar(pod) or has_ended(pod) or pods.is_leaving(pod):
            continue
        for revision, sign in _revision(pod):
            key = _Sidecars(*pods.workload_of(pod), revision, sign, pods.image_of(pod, PROXY))
            found.setdefault(key, []).append(name_of(pod))
    return found


def _revision(pod: Object) -> list[tuple[str, str]]:
    """Return a sidecar's revision and the field that shows it; nothing if none does."""
    annotations = annotations_of(pod)
    try:
        status = json.loads(annotations.get(_STATUS, "{}"))
    except ValueError:
        status = {}
    if revision := status.get("revision"):
        return [(revision, f".metadata.annotations.{_STATUS}: revision {revision}")]
    for section, marks in (("annotations", annotations), ("labels", labels_of(pod))):
        if revision := marks.get(REVISION_LABEL):
            return [(revision, f".metadata.{section}.{REVISION_LABEL}: {revision}")]
    return []


def _istiods(context: Context) -> dict[str, Object]:
    """Return the istiods of the cluster by revision; of several, the one of istio.namespace."""
    found = context.cluster.list(APPS, "Deployment", None, {"app": "istiod"})
    home = context.parameters.istio.namespace
    ordered = sorted(found, key=lambda item: item["metadata"].get("namespace") == home)
    return {labels_of(item).get(REVISION_LABEL, "default"): item for item in ordered}


def _older(sidecar: str, istiod: str) -> str:
    """Say by how many minor versions a sidecar is older, if by more than one; else nothing."""
    before, after = (pods.minor_of(pods.tag_of(image)) for image in (sidecar, istiod))
    if before is None or after is None or before[0] != after[0] or after[1] - before[1] < 2:
        return ""
    behind = f"{after[1] - before[1]} minor versions behind the {after[0]}.{after[1]}"
    return f"{before[0]}.{before[1]}, {behind}"


def _where(context: Context, names: list[str]) -> str:
    namespace = context.parameters.application.namespace
    return preflight.few([ref("Pod", name, namespace) for name in sorted(names)])


def _restart(context: Context, each: _Sidecars) -> str:
    namespace = context.parameters.application.namespace
    if each.kind in WORKLOADS:
        return f"kubectl --namespace {namespace} rollout restart {each.kind.lower()} {each.name}"
    return f"delete and create {ref(each.kind, each.name, namespace)} anew"
