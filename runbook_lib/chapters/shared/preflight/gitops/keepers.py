"""What keeps an object as Git has it: Argo CD's Applications, Flux's two kinds, and how they act.

See https://argo-cd.readthedocs.io/en/stable/user-guide/auto_sync/,
https://argo-cd.readthedocs.io/en/stable/user-guide/diffing/,
https://fluxcd.io/flux/components/kustomize/kustomizations/ and
https://fluxcd.io/flux/components/helm/helmreleases/#drift-detection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from runbook_lib.base import ClusterRefused, KindNotInstalled
from runbook_lib.cluster import (
    Object,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
    ownership,
    ref,
    reference,
)
from runbook_lib.lifecycle import Context

_TRACKING = "argocd.argoproj.io/tracking-id"
_SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
_INSTANCE = "app.kubernetes.io/instance"
"""Argo CD's tracking label by default before version 3; charts of Helm set it as well."""

REPLACE = "Replace=true"
_RESPECT = "RespectIgnoreDifferences=true"


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
class Keeper:
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

    def at_rest(self, item: Object, paths: Sequence[str]) -> str:
        """The field that keeps it from setting fields of an object back; empty if none does."""
        for key, value in annotations_of(item).items():
            if value.lower() in _EXEMPT.get(key, ()):
                return f".metadata.annotations.{key}: {value}"
        if self.live is None:
            return ""
        spec = self.live.get("spec") or {}
        if paths and all(self._ignores(spec, item, pointer) for pointer in map(_pointer, paths)):
            return f"{reference(self.live)} {self._ignoring}: {', '.join(map(_pointer, paths))}"
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

    def acts(self) -> str:
        """When it sets a change back, in words."""
        automated = ((self.live or {}).get("spec") or {}).get("syncPolicy", {}).get("automated")
        if self.tool is _ARGO and automated is not None:
            if automated.get("selfHeal"):
                return "it sets the change back within seconds (selfHeal: true)"
            return "the next commit sets the change back (selfHeal is off)"
        return "it sets the change back: within minutes, or with the next commit or upgrade"

    def left_alone(self, item: Object, paths: Sequence[str]) -> str:
        """What to add to the keeper for it to leave fields alone; empty if it cannot be told so."""
        if self.live is None or not paths or self.tool.kind == "Kustomization":
            return ""
        pointers = ", ".join(map(_pointer, paths))
        named = f"kind: {item['kind']}, name: {name_of(item)}"
        if self.tool is _ARGO:
            group = item.get("apiVersion", "").rpartition("/")[0]
            entry = f"{{group: '{group}', {named}, jsonPointers: [{pointers}]}}"
            more = f", and {_RESPECT} to its .spec.syncPolicy.syncOptions"
        else:
            entry, more = f"{{paths: [{pointers}], target: {{{named}}}}}", ""
        return f"; or have it leave that alone: add {entry} to its {self._ignoring}{more}"

    @property
    def _ignoring(self) -> str:
        return ".spec.ignoreDifferences" if self.tool is _ARGO else ".spec.driftDetection.ignore"

    def _ignores(self, spec: Object, item: Object, pointer: str) -> bool:
        """Whether it is told to leave a field alone, also while it syncs.

        Argo CD ignores the difference, and overwrites it with the next sync all the same, unless
        it is to respect that: https://argo-cd.readthedocs.io/en/stable/user-guide/sync-options/.
        """
        if self.tool is _ARGO:
            respects = _RESPECT in ((spec.get("syncPolicy") or {}).get("syncOptions") or [])
            return respects and any(
                _is_about(rule, item) and _covers(rule.get("jsonPointers"), pointer)
                for rule in spec.get("ignoreDifferences") or []
            )
        return any(
            _is_about(rule.get("target") or {}, item) and _covers(rule.get("paths"), pointer)
            for rule in (spec.get("driftDetection") or {}).get("ignore") or []
        )

    def replaces(self, item: Object) -> str:
        """The field by which it replaces the whole object; empty if it only applies to it."""
        if self.tool is not _ARGO:
            return ""
        if REPLACE in annotations_of(item).get(_SYNC_OPTIONS, ""):
            return f".metadata.annotations.{_SYNC_OPTIONS}: {REPLACE}"
        policy = ((self.live or {}).get("spec") or {}).get("syncPolicy") or {}
        if self.live and REPLACE in (policy.get("syncOptions") or []):
            return f"{reference(self.live)} .spec.syncPolicy.syncOptions: {REPLACE}"
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


def keeper_of(context: Context, item: Object) -> Keeper | None:
    """Return what keeps an object, by its marks, or else by who manages its fields."""
    if tracked := _tracked(item):
        namespace, _, name = tracked.rpartition("_")  # Argo CD puts the namespace before, with `_`
        sign = f".metadata.annotations.{_TRACKING}: {annotations_of(item)[_TRACKING]}"
        return Keeper(context, _ARGO, name, namespace, sign)
    labels, managers = labels_of(item), ownership.managers(item)
    for tool in _TOOLS:
        if tool.label in labels:
            namespace = labels.get(tool.label.replace("/name", "/namespace"), "")
            sign = f".metadata.labels.{tool.label}: {labels[tool.label]}"
            own = "" if tool is _ARGO else namespace
            return Keeper(context, tool, labels[tool.label], own, sign)
        if tool.manager in managers:
            name = labels.get(_INSTANCE, "") if tool is _ARGO else ""
            sign = f".metadata.managedFields: {tool.manager}"
            return Keeper(context, tool, name, "", sign)
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


def _pointer(path: str) -> str:
    """Return a field's path as a JSON pointer (RFC 6901); the key of a label may have dots."""
    labels = "metadata.labels."
    if path.startswith(labels):
        key = path.removeprefix(labels).replace("~", "~0").replace("/", "~1")
        return f"/metadata/labels/{key}"
    return f"/{path.replace('.', '/')}"


def _is_about(rule: Object, item: Object) -> bool:
    """Whether a rule about objects, of Argo CD or of Flux, is about this one."""
    group = item.get("apiVersion", "").rpartition("/")[0]
    metadata = item["metadata"]
    given = {"group": group, "kind": item["kind"], **metadata}
    return all(
        rule.get(key) in (None, "", "*", given.get(key))
        for key in ("group", "kind", "name", "namespace")
    )


def _covers(pointers: Sequence[str] | None, pointer: str) -> bool:
    return any(f"{pointer}/".startswith(f"{each}/") for each in pointers or ())
