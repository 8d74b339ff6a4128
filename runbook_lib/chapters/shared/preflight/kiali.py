"""A Kiali operator that is there in part, or twice."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.base import KindNotInstalled
from runbook_lib.chapters.shared.preflight.helm import hand_over, release_of
from runbook_lib.chapters.shared.preflight.leaving import deletion
from runbook_lib.cluster import APPS, CRD, CUSTOM_KINDS, Object, namespace_of, reference
from runbook_lib.lifecycle import Context, Finding, Severity

_KIALI_API = "kiali.io/v1alpha1"
_KIALI_CRD = "kialis.kiali.io"


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


def _kialis(context: Context) -> list[Object]:
    try:
        return context.cluster.list(_KIALI_API, "Kiali")
    except KindNotInstalled:
        return []
