"""Objects that Argo CD or Flux keeps as Git has them: what it would set back, and what it leaves.

A sync writes the fields that Git states and leaves the others alone, whether it applies on the
client's or the server's side. Only where Argo CD replaces the whole object are those lost, too. See
https://argo-cd.readthedocs.io/en/stable/user-guide/sync-options/ and
https://fluxcd.io/flux/components/kustomize/kustomizations/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from runbook_lib.base import ClusterRefused, KindNotInstalled
from runbook_lib.chapters.shared.preflight.wording import risk
from runbook_lib.cluster import (
    APPS,
    FIELD_MANAGER,
    Object,
    annotations_of,
    labels_of,
    live_object,
    name_of,
    namespace_of,
    ownership,
    ref,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Refused, Severity
from runbook_lib.mesh import injection_label

_TRACKING = "argocd.argoproj.io/tracking-id"
_SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
_INSTANCE = "app.kubernetes.io/instance"
"""Argo CD's tracking label by default before version 3; charts of Helm set it as well."""

_REPLACE = "Replace=true"

_EXEMPT = {
    "kustomize.toolkit.fluxcd.io/reconcile": ("disabled",),
    "kustomize.toolkit.fluxcd.io/ssa": ("ignore", "ifnotpresent"),
    "helm.toolkit.fluxcd.io/driftDetection": ("disabled",),
}
"""Annotations, with values in small letters, by which Flux leaves one object as it is."""


@dataclass(frozen=True)
class _Tool:
    """A kind of object by which Git is kept in the cluster.

    Attributes:
        name: What people call it.
        api_version: The kind's.
        kind: The kind.
        label: The label that names the object on everything it keeps.
        manager: The field manager.
    """

    name: str
    api_version: str
    kind: str
    label: str
    manager: str


_ARGO = _Tool(
    "Argo CD",
    "argoproj.io/v1alpha1",
    "Application",
    "argocd.argoproj.io/instance",
    "argocd-controller",
)
_TOOLS = (
    _ARGO,
    _Tool(
        "Flux",
        "kustomize.toolkit.fluxcd.io/v1",
        "Kustomization",
        "kustomize.toolkit.fluxcd.io/name",
        "kustomize-controller",
    ),
    _Tool(
        "Flux",
        "helm.toolkit.fluxcd.io/v2",
        "HelmRelease",
        "helm.toolkit.fluxcd.io/name",
        "helm-controller",
    ),
)


@dataclass(frozen=True)
class _Keeper:
    """What keeps one object as Git has it.

    Attributes:
        context: Where to look for it.
        tool: Its kind.
        name: Its name; empty if the object does not say.
        namespace: Its namespace; empty if the object does not say.
        sign: The field that shows it.
    """

    context: Context
    tool: _Tool
    name: str
    namespace: str
    sign: str

    @cached_property
    def live(self) -> Object | None:
        """The keeper itself; None if it cannot be seen, as when it is in another cluster."""
        try:
            found = self.context.cluster.list(
                self.tool.api_version, self.tool.kind, self.namespace or None
            )
        except (KindNotInstalled, ClusterRefused):
            return None
        named = [item for item in found if name_of(item) == self.name]
        return named[0] if len(named) == 1 else None

    @property
    def where(self) -> str:
        """Where the keeper is."""
        return namespace_of(self.live) if self.live else self.namespace

    @property
    def text(self) -> str:
        """The keeper in words."""
        if not self.name:
            return f"{self.tool.name} ({self.tool.manager})"
        return f"{self.tool.name}'s {ref(self.tool.kind, self.name, self.where)}"

    def at_rest(self, item: Object) -> str:
        """The field that keeps it from setting an object back by itself; empty if none does."""
        for key, value in annotations_of(item).items():
            if value.lower() in _EXEMPT.get(key, ()):
                return f".metadata.annotations.{key}: {value}"
        if self.live is None:
            return ""
        spec = self.live.get("spec") or {}
        if self.tool is _ARGO:
            automated = (spec.get("syncPolicy") or {}).get("automated")
            if automated is None:
                return f"{reference(self.live)} .spec.syncPolicy.automated: none"
            if automated.get("enabled") is False:
                return f"{reference(self.live)} .spec.syncPolicy.automated.enabled: false"
            return ""
        if spec.get("suspend"):
            return f"{reference(self.live)} .spec.suspend: true"
        mode = (spec.get("driftDetection") or {}).get("mode") or "disabled"
        if self.tool.kind == "HelmRelease" and mode != "enabled":
            return f"{reference(self.live)} .spec.driftDetection.mode: {mode}"
        return ""

    def replaces(self, item: Object) -> str:
        """The field by which it replaces the whole object; empty if it only applies to it."""
        if self.tool is not _ARGO:
            return ""
        if _REPLACE in annotations_of(item).get(_SYNC_OPTIONS, ""):
            return f".metadata.annotations.{_SYNC_OPTIONS}: {_REPLACE}"
        policy = ((self.live or {}).get("spec") or {}).get("syncPolicy") or {}
        if self.live and _REPLACE in (policy.get("syncOptions") or []):
            return f"{reference(self.live)} .spec.syncPolicy.syncOptions: {_REPLACE}"
        return ""

    @property
    def pause(self) -> str:
        """The command that has it leave the cluster alone."""
        name, where = self.name or "NAME", self.where or "NAMESPACE"
        if self.tool is not _ARGO:
            return f"flux suspend {self.tool.kind.lower()} {name} --namespace {where}"
        owners = self.live["metadata"].get("ownerReferences") or [] if self.live else []
        made_by = [each["name"] for each in owners if each["kind"] == "ApplicationSet"]
        if made_by:
            return f"take syncPolicy.automated out of ApplicationSet {made_by[0]}, which made it"
        return f"argocd app set {f'{self.where}/' if self.where else ''}{name} --sync-policy none"


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
    keeper = _keeper(context, item)
    if keeper is None:
        return
    where = reference(item)
    stated = tuple(_stated(item, paths, forced=forced))
    at_rest = keeper.at_rest(item)
    kept = f"{keeper.text} keeps it as Git has it"
    commit = f"commit the change to Git: {change}"
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
                "it sets the change back: within minutes, or with the next commit or upgrade",
                f"{commit}; or {pause}",
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
                f"take {_REPLACE} out of its sync options" + (f"; or {commit}" if lasting else ""),
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


def _keeper(context: Context, item: Object) -> _Keeper | None:
    """Return what keeps an object, by its marks, or else by who manages its fields."""
    if tracked := _tracked(item):
        namespace, _, name = tracked.rpartition("_")  # Argo CD puts the namespace before, with `_`
        sign = f".metadata.annotations.{_TRACKING}: {annotations_of(item)[_TRACKING]}"
        return _Keeper(context, _ARGO, name, namespace, sign)
    labels, managers = labels_of(item), ownership.managers(item)
    for tool in _TOOLS:
        if tool.label in labels:
            namespace = labels.get(tool.label.replace("/name", "/namespace"), "")
            sign = f".metadata.labels.{tool.label}: {labels[tool.label]}"
            own = "" if tool is _ARGO else namespace
            return _Keeper(context, tool, labels[tool.label], own, sign)
        if tool.manager in managers:
            name = labels.get(_INSTANCE, "") if tool is _ARGO else ""
            sign = f".metadata.managedFields: {tool.manager}"
            return _Keeper(context, tool, name, "", sign)
    return None


def _tracked(item: Object) -> str:
    """Return the Application that tracks an object; empty if none does.

    Argo CD heeds no tracking id that names another object, as on a copy. See
    https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/.
    """
    application, _, tracked = annotations_of(item).get(_TRACKING, "").partition(":")
    kind, _, name = tracked.partition(":")
    same = kind.endswith(f"/{item['kind']}") and name.endswith(f"/{name_of(item)}")
    return application if same else ""


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
