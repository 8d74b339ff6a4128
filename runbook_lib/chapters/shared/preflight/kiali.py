"""A Kiali operator that is there in part, or twice, and a Kiali that something else made."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.base import KindNotInstalled
from runbook_lib.chapters.shared.preflight.helm import hand_over, release_of
from runbook_lib.chapters.shared.preflight.leaving import deletion
from runbook_lib.chapters.shared.preflight.wording import few
from runbook_lib.cluster import (
    APPS,
    CRD,
    CUSTOM_KINDS,
    Object,
    labels_of,
    name_of,
    namespace_of,
    ownership,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Severity

_KIALI_API = "kiali.io/v1alpha1"
_KIALI_CRD = "kialis.kiali.io"
_RBAC = "rbac.authorization.k8s.io/v1"


def operator(context: Context) -> Iterator[Finding]:
    """Find a Kiali operator that is there in part."""
    kiali = context.parameters.kiali
    release, namespace = kiali.operator.release, kiali.operator_namespace
    found = context.helm.status(release, namespace=namespace)
    where = f"Helm release {namespace}/{release}"
    served = context.cluster.get(CUSTOM_KINDS, CRD, _KIALI_CRD) is not None
    labels = {"app.kubernetes.io/name": "kiali-operator"}
    operators = context.cluster.list(APPS, "Deployment", None, labels)
    others = [o for o in operators if namespace_of(o) != namespace]
    for item in others:
        yield Finding(
            reference(item),
            "another Kiali operator is there",
            "two operators would carry out the same Kiali",
            "leave 06_kiali out",
            parameter=f"kiali.operator_namespace: {namespace_of(item)} and "
            f"kiali.operator.release: {release_of(item)[0] or 'NAME'}, to work with it",
        )
    if found is not None and found.deployed and not served:
        yield Finding(
            where,
            f"deployed, and the kind {_KIALI_CRD} is missing",
            "the operator has nothing to watch; Helm installs the kinds of a chart only once",
            "06_kiali applies the kind: its plan shows it",
            severity=Severity.NOTE,
        )
    if found is None:
        own = [o for o in operators if namespace_of(o) == namespace]
        if own:
            yield Finding(
                reference(own[0]),
                "an operator that no Helm release holds",
                "Helm does not take over what it did not make",
                "hand it over: " + " && ".join(hand_over(own, release, namespace)),
            )
    if operators or not served:
        return
    for item in _kialis(context):
        deleting = deletion(item)
        if deleting is not None:
            yield deleting
        elif found is None:
            yield Finding(
                reference(item),
                "no operator is there to carry it out",
                "changes to it have no effect, and deleting it hangs on its finalizer",
                "06_kiali installs the operator, which then takes it up",
                severity=Severity.NOTE,
            )


def kiali_of_others(context: Context) -> Iterator[Finding]:
    """Find a Kiali that the operator would collide with when it makes the runbook's own.

    Without a Kiali resource, Kiali is installed by its chart `kiali-server`, or by the sample of
    Istio, `samples/addons/kiali.yaml`.
    """
    name, namespace = context.parameters.kiali.name, context.parameters.istio.namespace
    resources = _kialis(context)
    own = [r for r in resources if (name_of(r), namespace_of(r)) == (name, namespace)]
    others = [r for r in resources if r not in own and _takes(r, name, namespace)]
    for item in others:
        yield _same_name(reference(item), f".spec.deployment.instance_name: {name}", name)
    if not others:
        yield from _bound_elsewhere(context, name, namespace)
    parts = [
        found
        for version, kind in ((APPS, "Deployment"), ("v1", "Service"), ("v1", "ConfigMap"))
        if (found := context.cluster.get(version, kind, name, namespace)) is not None
        and not _carried_out(found, resources)
    ]
    if parts and not _is_made_by_operator(parts, own):
        release, at = release_of(parts[0])
        removal = (
            f"helm uninstall {release} --namespace {at}"
            if release
            else f"kubectl --namespace {namespace} delete "
            + " ".join(f"{part['kind'].lower()}/{name}" for part in parts)
        )
        yield Finding(
            few([reference(part) for part in parts]),
            "a Kiali that no Kiali resource describes"
            + (f", of Helm release {at}/{release}" if release else "")
            + f" (made by {ownership.makers(parts[0])})",
            "the operator would write over it, or fail at a selector that cannot change; deleting "
            "the Kiali resource would then delete it, too",
            f"use it as it is: leave 06_kiali out; or, if it is not needed any more: {removal}",
            tuple(f"{reference(part)} .metadata.ownerReferences: no Kiali" for part in parts),
            parameter=f"kiali.name: {name}-runbook",
            name="kiali-of-others",
        )


def _takes(item: Object, name: str, namespace: str) -> bool:
    """Whether the operator makes of a Kiali resource objects that the runbook's own would need.

    Objects in the cluster's own scope are shared by all of a name that may see every namespace.
    """
    deployment = (item.get("spec") or {}).get("deployment") or {}
    if deployment.get("instance_name", "kiali") != name:
        return False
    there = deployment.get("namespace", namespace_of(item)) == namespace
    return there or bool(deployment.get("cluster_wide_access", True))


def _bound_elsewhere(context: Context, name: str, namespace: str) -> Iterator[Finding]:
    """Find the binding of a Kiali of the same name in another namespace, whatever made it."""
    binding = context.cluster.get(_RBAC, "ClusterRoleBinding", name)
    for subject in (binding or {}).get("subjects") or []:
        if binding and subject.get("namespace", namespace) != namespace:
            sign = f".subjects: {subject['kind']} {subject['namespace']}/{subject['name']}"
            yield _same_name(reference(binding), sign, name)


def _same_name(where: str, sign: str, name: str) -> Finding:
    """Say that a Kiali of the same name has objects that the runbook's own would need."""
    return Finding(
        where,
        f"another Kiali is called {name}, too",
        "the operator refuses a second one of that name: the two would share a ClusterRoleBinding, "
        "or all of their objects",
        "use that Kiali: leave 06_kiali out",
        (sign,),
        parameter=f"kiali.name: {name}-runbook",
        name="kiali-of-others",
    )


def _carried_out(item: Object, resources: list[Object]) -> bool:
    """Whether an object belongs to a Kiali resource, as the operator notes."""
    owners = item["metadata"].get("ownerReferences") or []
    names = {name_of(each) for each in resources}
    return any(each["kind"] == "Kiali" and each["name"] in names for each in owners)


def _is_made_by_operator(parts: list[Object], own: list[Object]) -> bool:
    """Whether the operator made them without noting it: Helm has no part in them."""
    return bool(own) and not any(release_of(part)[0] or _by_helm(part) for part in parts)


def _by_helm(item: Object) -> bool:
    return labels_of(item).get("app.kubernetes.io/managed-by") == "Helm"


def _kialis(context: Context) -> list[Object]:
    try:
        return context.cluster.list(_KIALI_API, "Kiali")
    except KindNotInstalled:
        return []
