"""Other control planes: in place of the runbook's, of the same revision, or of another mode."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.chapters.shared.preflight.helm import release_of
from runbook_lib.chapters.shared.preflight.wording import few
from runbook_lib.cluster import (
    APPS,
    REVISION_LABEL,
    Object,
    annotations_of,
    labels_of,
    namespace_of,
    ownership,
    pods,
    ref,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.mesh import revisions, rollout
from runbook_lib.parameters import Parameters


def istios(context: Context) -> Iterator[Finding]:
    """Find every Istio that is not of the release that the runbook installs."""
    yield from control_plane(context)
    yield from meshes(context)


def control_plane(context: Context) -> Iterator[Finding]:
    """Find that others have installed istiod where the runbook would; the rest works with it."""
    istio = context.parameters.istio
    if (behind := revisions.tags(context.cluster).get(istio.revision)) is not None:
        yield Finding(
            f"istio.revision: {istio.revision}",
            f"it is a tag of revision {behind}",
            f"01_install_istio would install a second control plane, of revision {istio.revision}",
            "use the one that is there: leave 01_install_istio out",
            parameter=f"istio.revision: {behind}",
        )
    for item in istiods_of_others(context):
        if not _takes_our_place(context.parameters, item):
            continue
        release, namespace = release_of(item)
        held = release and namespace == istio.namespace
        yield Finding(
            reference(item),
            f"an istiod of {_owner(item)}, where 01_install_istio would put its own",
            "there can be one only; the other notebooks work with this one",
            "use it as it is: leave 01_install_istio out",
            parameter=f"istio.istiod.release: {release}" if held else "",
        )


def meshes(context: Context) -> Iterator[Finding]:
    """Find Istio elsewhere than the parameters say: revisions, namespaces, ambient."""
    parameters = revisions.of_cluster(context.cluster, context.parameters)
    istio = parameters.istio
    for item in istiods_of_others(context):
        if _takes_our_place(parameters, item):
            continue
        revision = _revision(item)
        release, _ = release_of(item)
        where = reference(item)
        if revision != istio.revision:
            yield Finding(
                where,
                f"another Istio, revision {revision}, of {_owner(item)}",
                "namespaces labelled for that revision are its own, and so are their sidecars; "
                "policies apply to both meshes",
                f"leave it: namespace {parameters.application.namespace} is labelled for "
                f"{istio.revision}",
                parameter=f"istio.revision: {revision}, and its release and namespace",
                severity=Severity.NOTE,
            )
        else:
            yield Finding(
                where,
                f"another Istio of the same revision {revision}, of {_owner(item)}",
                "two control planes of one revision take the webhooks and policies from each other",
                _removal(context, item)
                + "; or give this one a revision of its own: istio.revision",
                parameter=f"istio.namespace: {namespace_of(item)}"
                + (f" and istio.istiod.release: {release}" if release else "")
                + ", to work with it",
            )
    for item in context.cluster.list(APPS, "DaemonSet", None, {"app": "ztunnel"}):
        yield Finding(
            reference(item),
            "Istio's ambient mode is installed",
            "in namespaces in ambient mode, policies about methods refuse everything without a "
            "waypoint",
            f"nothing, as long as namespace {parameters.application.namespace} does not carry "
            "the label istio.io/dataplane-mode=ambient",
            severity=Severity.NOTE,
        )
    application = context.cluster.get("v1", "Namespace", parameters.application.namespace) or {}
    labels = labels_of(application)
    if labels.get("istio.io/dataplane-mode") == "ambient":
        yield Finding(
            ref("Namespace", parameters.application.namespace),
            "it is in ambient mode",
            "its pods are in another mesh than the one with sidecars",
            "take it out first: kubectl label namespace "
            f"{parameters.application.namespace} istio.io/dataplane-mode-",
        )


def istiods_of_others(context: Context) -> Iterator[Object]:
    """Yield the Deployments of every istiod that is not of the release in the parameters."""
    istio = context.parameters.istio
    for item in context.cluster.list(APPS, "Deployment", None, {"app": "istiod"}):
        own = release_of(item) == (istio.istiod.release, istio.namespace)
        if not own or namespace_of(item) != istio.namespace:
            yield item


def _takes_our_place(parameters: Parameters, istiod: Object) -> bool:
    istio = parameters.istio
    there = (namespace_of(istiod), _revision(istiod))
    return there == (istio.namespace, istio.revision)


def _revision(item: Object) -> str:
    return str(labels_of(item).get(REVISION_LABEL, "default"))


def _owner(item: Object) -> str:
    release, namespace = release_of(item)
    if release:
        return f"Helm release {namespace}/{release}"
    return f"no Helm release (made by {ownership.makers(item)})"


def _removal(context: Context, istiod: Object) -> str:
    """Say how to remove an istiod, or that sidecars count on one of its revision."""
    revision = _revision(istiod)
    proxies = [
        reference(pod)
        for pod in context.cluster.list("v1", "Pod")
        if pods.has_sidecar(pod)
        and not rollout.has_ended(pod)
        and annotations_of(pod).get(REVISION_LABEL, revision) == revision
    ]
    if proxies:
        return (
            f"move what uses it before it is removed: {len(proxies)} pods have sidecars of this "
            f"revision ({few(proxies)}), and without a control plane their certificates end within "
            "24 hours"
        )
    release, namespace = release_of(istiod)
    command = (
        f"helm uninstall {release} --namespace {namespace}"
        if release
        else f"istioctl uninstall --revision {revision}"
    )
    return f"remove it first, because no pod has a sidecar of this revision: {command}"
