"""Helm releases: whose they are, whether they are whole, and what they would refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runbook_lib.chapters.shared.preflight.gitops import keeper_of
from runbook_lib.chapters.shared.preflight.wording import few, kubectl
from runbook_lib.cluster import (
    CRD,
    CUSTOM_KINDS,
    Object,
    annotations_of,
    labels_of,
    name_of,
    ownership,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Severity

RELEASE_NAME = "meta.helm.sh/release-name"
RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"
"""Annotations by which Helm knows what belongs to which release; it refuses to take others' over.

See `checkOwnership` in `pkg/action/validate.go` of Helm 4.
"""

INSTALLED_BY = {"installed-by": "istio-runbook"}
"""Labels a release that the runbook installed, or that somebody handed over to it.

Only such a release is changed, and uninstalled by a rollback.
"""

_MANAGED_BY = "app.kubernetes.io/managed-by"
_ISTIO_GROUPS = tuple(
    f"{group}.istio.io" for group in ("extensions", "networking", "security", "telemetry")
)
"""The API groups of the chart `base`."""


def releases(context: Context) -> Iterator[Finding]:
    """Find releases of others, and those that a Helm was interrupted at, or that failed.

    What became of their own, steps mend; they leave others' as they are.
    """
    istio, kiali = context.parameters.istio, context.parameters.kiali
    for release, namespace, notebook in (
        (istio.base.release, istio.namespace, "01_install_istio"),
        (istio.istiod.release, istio.namespace, "01_install_istio"),
        (kiali.operator.release, kiali.operator_namespace, "06_kiali"),
    ):
        found = context.helm.status(release, namespace=namespace)
        if found is None:
            continue
        where = f"Helm release {namespace}/{release}"
        if not is_own(context, release, namespace):
            yield Finding(
                where,
                f"{found.status} (revision {found.revision}), and not installed by this runbook",
                f"its owner counts on it: {notebook} takes it as it is, and refuses to change it",
                f"use it as it is: leave {notebook} out; or {take_over(release, namespace)}",
                severity=Severity.NOTE,
            )
        elif found.stuck:
            since = f" since {found.since:%Y-%m-%d %H:%M} UTC" if found.since else ""
            yield Finding(
                where,
                f"{found.status}{since} (revision {found.revision})",
                "a Helm is at work on it or was interrupted, and every other one refuses it",
                f"{notebook} waits for that Helm, then plans the recovery; nothing that runs is "
                "taken down",
                severity=Severity.NOTE,
            )
        elif not found.deployed:
            yield Finding(
                where,
                f"{found.status} (revision {found.revision})",
                "its last operation did not end well",
                f"{notebook} plans it again; why it failed: "
                f"helm history {release} --namespace {namespace}",
                severity=Severity.NOTE,
            )


def is_own(context: Context, release: str, namespace: str) -> bool:
    """Whether the runbook installed a release, or it was handed over to it."""
    labels = context.helm.get_labels(release, namespace=namespace)
    return labels.items() >= INSTALLED_BY.items()


def take_over(release: str, namespace: str) -> str:
    """Say how a release becomes the runbook's; Helm keeps its labels where it keeps the release."""
    labels = [f"{key}={value}" for key, value in INSTALLED_BY.items()]
    command = kubectl(
        *("label", "secret", "--namespace", namespace),
        *("--selector", f"owner=helm,name={release}", *labels),
    )
    return (
        "take it over, once its owner (Terraform, Flux, another team) has let go of it; a rollback "
        f"uninstalls it then: {command}"
    )


def kinds(context: Context) -> Iterator[Finding]:
    """Find Istio's kinds that belong to another release, or to none: Helm would refuse them."""
    found = [
        item
        for item in context.cluster.list(CUSTOM_KINDS, CRD)
        if item["spec"]["group"] in _ISTIO_GROUPS
    ]
    istio = context.parameters.istio
    yield from foreign(context, found, istio.base.release, istio.namespace, "istio.base.release")


def foreign(
    context: Context, live: Sequence[Object], release: str, namespace: str, key: str
) -> Iterator[Finding]:
    """Find objects that a release should hold, and that Helm would refuse to take over.

    Args:
        context: Where to look.
        live: The objects, as they are in the cluster.
        release: The release's name.
        namespace: Its namespace.
        key: The parameter that names the release.
    """
    groups: dict[tuple[str, str], list[Object]] = {}
    for item in live:
        labels = labels_of(item)
        owner = release_of(item) if labels.get(_MANAGED_BY) == "Helm" else ("", "")
        if owner != (release, namespace):
            groups.setdefault(owner, []).append(item)
    for (other, where), items in groups.items():
        alive = bool(other) and context.helm.status(other, namespace=where) is not None
        owned = (
            f"of the Helm release {where}/{other}, which {'is there' if alive else 'is gone'}"
            if other
            else f"of no Helm release (made by {ownership.makers(items[0])})"
        )
        keeper = keeper_of(context, items[0])
        kept = f", and {keeper.text} keeps it as Git has it" if keeper else ""
        yield Finding(
            few([reference(item) for item in items]),
            f"there already, {owned}{kept}",
            f"Helm does not take over what the release {namespace}/{release} did not make",
            "hand it over"
            + (", once its owner has let go of it: " if alive else ": ")
            + " && ".join(hand_over(items, release, namespace)),
            parameter=f"{key}: {other}, in namespace {where}" if alive else "",
        )


def release_of(item: Object) -> tuple[str, str]:
    """Return name and namespace of the release that an object says it belongs to."""
    annotations = annotations_of(item)
    return annotations.get(RELEASE_NAME, ""), annotations.get(RELEASE_NAMESPACE, "")


def hand_over(items: Sequence[Object], release: str, namespace: str) -> Iterator[str]:
    """Yield the commands that make objects part of a release, for Helm to take them over."""
    by_kind: dict[tuple[str, str], list[str]] = {}
    for item in items:
        where = (item["kind"].lower(), item["metadata"].get("namespace", ""))
        by_kind.setdefault(where, []).append(name_of(item))
    for (kind, scope), names in by_kind.items():
        options = ["--overwrite", *(["--namespace", scope] if scope else [])]
        yield kubectl("label", kind, *names, f"{_MANAGED_BY}=Helm", *options)
        yield kubectl(
            *("annotate", kind, *names),
            *(f"{RELEASE_NAME}={release}", f"{RELEASE_NAMESPACE}={namespace}", *options),
        )
