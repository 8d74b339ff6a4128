"""Changes of objects that Argo CD or Flux keeps: what it would set back, and what it leaves.

A sync writes the fields that Git states and leaves the others alone, whether it applies on the
client's or the server's side. Only where Argo CD replaces the whole object are those lost, too. See
https://argo-cd.readthedocs.io/en/stable/user-guide/sync-options/ and
https://fluxcd.io/flux/components/kustomize/kustomizations/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from runbook_lib.chapters.shared.preflight.gitops.keepers import REPLACE, keeper_of
from runbook_lib.chapters.shared.preflight.wording import risk
from runbook_lib.cluster import (
    APPS,
    FIELD_MANAGER,
    Object,
    labels_of,
    live_object,
    ownership,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Refused, Severity
from runbook_lib.mesh import injection_label

_EXPORTED = "istio-runbook export FOLDER writes it"


def set_back(
    context: Context,
    item: Object,
    paths: Sequence[str],
    change: str,
    *,
    forced: bool,
    lasting: bool = True,
) -> Iterator[Finding]:
    """Find that a change of an object would be set back, or what would have to set it back.

    Args:
        context: Where to look for what keeps the object.
        item: The object as it is.
        paths: The fields that the step changes, as `ownership.managers` names them.
        change: What the step changes, in words, as Git would have to state it.
        forced: Whether the step takes the fields from others; otherwise it meets a conflict.
        lasting: Whether the change is to last; a restart has done its work when it is over.
    """
    keeper = keeper_of(context, item)
    if keeper is None:
        return
    where = reference(item)
    stated = tuple(_stated(item, paths, forced=forced))
    at_rest = keeper.at_rest(item, paths)
    kept = f"{keeper.text} keeps it as Git has it"
    commit = f"commit the change to Git: {change} ({_EXPORTED})"
    pause = f"pause it: {keeper.pause}"
    if stated and not forced:
        yield Finding(
            where,
            f"{kept}, and states what this step changes",
            "the runbook takes no fields from others, and they would be set back",
            commit,
            (keeper.sign, *stated),
            name="set-back",
        )
    elif stated and not at_rest:
        yield risk(
            context,
            "set-back",
            Finding(
                where,
                f"{kept}, and states what this step changes",
                keeper.acts(),
                f"{commit}{keeper.left_alone(item, paths)}; or {pause}",
                (keeper.sign, *stated),
            ),
        )
    elif stated:
        yield Finding(
            where,
            f"{kept}, and states what this step changes; it is at rest now",
            "the next sync or upgrade sets the change back",
            f"{commit} before that",
            (keeper.sign, *stated, at_rest),
            severity=Severity.NOTE,
            name="set-back",
        )
    elif replaced := keeper.replaces(item):
        yield risk(
            context,
            "set-back",
            Finding(
                where,
                f"{kept}, and replaces the whole object when it syncs",
                f"the next sync removes what this step adds: {change}"
                + ("" if lasting else ", so the pods are replaced once more"),
                f"take {REPLACE} out of its sync options" + (f"; or {commit}" if lasting else ""),
                (keeper.sign, replaced),
            ),
        )
    else:
        yield Finding(
            where,
            f"{kept}; Git does not state what this step adds: {change}",
            "a sync leaves fields alone that Git does not state, so the change stays, unless the "
            "whole object is deleted and made anew, or replaced",
            f"so that it lasts, {commit}" if lasting else "nothing: it is needed only once",
            (keeper.sign,),
            severity=Severity.NOTE,
            name="set-back",
        )


def injection_undone(context: Context) -> Iterator[Finding]:
    """Find that the namespace's label, or restarts of its workloads, would be undone."""
    application = context.parameters.application
    namespace = context.cluster.get("v1", "Namespace", application.namespace)
    key, value = injection_label(context.parameters)
    if namespace is None or labels_of(namespace).get(key) == value:
        return
    label = f"metadata.labels.{key}"
    yield from set_back(context, namespace, (label,), f"{label}: {value}", forced=False)
    for kind, name in application.workloads:
        workload = context.cluster.get(APPS, kind, name, application.namespace)
        if workload is not None:
            change = "the annotations of its pod template that restart it"
            yield from set_back(context, workload, (), change, forced=True, lasting=False)


def policy_kept(context: Context, make: Callable[[], Object]) -> Iterator[Finding]:
    """Find that a policy of the runbook's name is kept by others, and is not what it is to be.

    Args:
        context: Where to look.
        make: Returns the policy as it is to be; whatever it refuses is found elsewhere.
    """
    try:
        desired = make()
    except Refused:
        return
    found = live_object(context.cluster, desired)
    if found is not None and found.get("spec") != desired["spec"]:
        yield from set_back(
            context, found, ("spec",), "its spec as the plan shows it", forced=False
        )


def _stated(item: Object, paths: Sequence[str], *, forced: bool) -> Iterator[str]:
    """Yield who manages which of the fields, as evidence that Git states them.

    What the runbook itself manages, it took over from others if the step does so, or added.
    """
    for manager, managed in ownership.managers(item).items():
        fields = [each for each in managed if any(_within(each, path) for path in paths)]
        if fields and (forced or manager != FIELD_MANAGER):
            yield f".metadata.managedFields: {manager} manages {', '.join(fields)}"


def _within(field: str, path: str) -> bool:
    return field == path or field.startswith(f"{path}.")
