"""What an upgrade needs: versions that go together, and that can be told."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.base import CommandError
from runbook_lib.chapters.shared import preflight
from runbook_lib.chapters.shared.preflight import SUPPORTED
from runbook_lib.chapters.upgrade import course
from runbook_lib.cluster import pods, reference
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.tools import is_older

_PARAMETER = "upgrade.to"
_IN_PLACE = "https://istio.io/latest/docs/setup/upgrade/in-place/"
_SUPPORTED = "https://istio.io/latest/docs/releases/supported-releases/"


def in_the_way(context: Context) -> Iterator[Finding]:
    """Find why Istio cannot be upgraded from the version that runs; nothing once it has been."""
    desired = context.parameters.upgrade.to or ""
    yield from _not_brought(context, desired)
    istiod = course.standing(context)
    if istiod is None:
        if not course.has_moved(context):
            yield _nothing_stands(context)
        return
    where, revision = reference(istiod), course.revision_of(istiod)
    found = course.version_of(context, revision)
    if found is None or pods.minor_of(found) is None:
        yield Finding(
            where,
            f"its version cannot be told: it reports {found or 'none'}",
            "whether the upgrade goes over one minor version, as it must, is not known",
            f"see why: istioctl version --revision {revision}",
        )
        return
    yield from _distance(where, found, desired)
    yield from _older_proxies(context, revision, desired)
    yield from _kubernetes(context, (found, desired))


def _not_brought(context: Context, desired: str) -> Iterator[Finding]:
    """Find that a lab, which brings its Istio, does not bring this version."""
    brought = context.target.istio_version
    if brought is not None and context.target.at(desired).istio_version != desired:
        yield Finding(
            context.target.name,
            f"it does not bring Istio {desired}",
            "a lab has no other source of charts and programs",
            f"choose from: {', '.join([brought, *context.target.upgrades])}",
            parameter=_PARAMETER,
        )


def _nothing_stands(context: Context) -> Finding:
    istio = context.parameters.istio
    return Finding(
        f"Helm release {istio.namespace}/{istio.istiod.release}",
        "no istiod is of it",
        "there is nothing to upgrade",
        "install Istio first (notebook 01); or name the release that is there: helm list "
        f"--namespace {istio.namespace}",
        parameter="istio.istiod.release",
    )


def _distance(where: str, found: str, desired: str) -> Iterator[Finding]:
    """Find an upgrade over more than one minor version, or to an older one."""
    have, want = pods.minor_of(found), pods.minor_of(desired)
    assert have is not None, "it is a version"
    assert want is not None, "parameters take nothing else"
    if is_older(desired, found):
        yield Finding(
            where,
            f"it is of Istio {found}, and {desired} is older",
            "a control plane that is older than its sidecars is not supported",
            "to take an upgrade back, run notebook 90 with rollback.keep: 06_kiali",
            parameter=_PARAMETER,
        )
    elif have[0] != want[0] or want[1] - have[1] > 1:
        yield Finding(
            where,
            f"it is of Istio {found}, and {desired} is more than one minor version newer",
            "sidecars follow a control plane that is one minor version newer, and no more",
            f"go one minor version at a time: first to {have[0]}.{have[1] + 1}",
            parameter=f"{_PARAMETER}: {have[0]}.{have[1] + 1}.x",
            link=_IN_PLACE,
        )


def _older_proxies(context: Context, revision: str, desired: str) -> Iterator[Finding]:
    """Find proxies that the new control plane would leave two minor versions behind."""
    want = pods.minor_of(desired)
    assert want is not None, "parameters take nothing else"
    try:
        proxies = course.connected(context, revision)
    except CommandError as error:
        yield Finding(
            f"istiod of revision {revision}",
            f"which proxies it has cannot be told: {error.cause.splitlines()[0]}",
            "proxies that are two minor versions older would be left behind",
            f"see why: istioctl proxy-status --revision {revision}",
        )
        return
    behind = [
        f"{proxy.pod} ({proxy.version or 'unknown'})"
        for proxy in proxies
        if (pods.minor_of(proxy.version) or (0, 0)) < (want[0], want[1] - 1)
    ]
    if behind:
        yield Finding(
            f"istiod of revision {revision}",
            f"its proxies are of older versions: {preflight.few(behind)}",
            f"Istio {desired} is for proxies that are one minor version older, and no more",
            "restart them first: notebook 02, and the workloads of other namespaces",
        )


def _kubernetes(context: Context, versions: tuple[str, ...]) -> Iterator[Finding]:
    """Find that the cluster's Kubernetes is not one that both versions support."""
    server = context.cluster.server_version()
    _, minor = pods.minor_of(server) or (0, 0)
    for version in dict.fromkeys(versions):
        oldest, newest = SUPPORTED.get(pods.minor_of(version) or (0, 0), (0, 0))
        if not newest:
            yield Finding(
                f"Kubernetes {server}",
                f"whether Istio {version} supports it is not known here",
                "precheck looks for too old ones alone",
                "look it up before you go on",
                severity=Severity.NOTE,
                link=_SUPPORTED,
            )
        elif not oldest <= minor <= newest:
            yield Finding(
                f"Kubernetes {server}",
                f"Istio {version} supports 1.{oldest} to 1.{newest}",
                "the application needs both versions until the upgrade is done",
                "upgrade Kubernetes first"
                if minor < oldest
                else "go to an Istio that supports it, one minor version at a time",
                link=_SUPPORTED,
            )
