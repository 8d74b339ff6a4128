"""What uninstalling leaves behind: kinds, the root certificate, namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runbook_lib.chapters.shared import RollbackStep, kept, objects, preflight
from runbook_lib.chapters.shared.release import istio as istio_releases
from runbook_lib.cluster import (
    APPS,
    CRD,
    CUSTOM_KINDS,
    Object,
    annotations_of,
    name_of,
    object_diff,
    ownership,
    ref,
    reference,
)
from runbook_lib.lifecycle import Change, Check, Context, Finding, Plan, Verification, table
from runbook_lib.parameters import Parameters

_ISTIO, _KIALI = "01_install_istio", "06_kiali"
_KEEP_KINDS = "rollback.kinds: false"
_ISTIOD = "pilot-discovery"
"""Istiod's field manager: what it alone has written is of no use without it."""

_WRITTEN_EVERYWHERE = (("v1", "ConfigMap"),)
"""Kinds in which istiod writes copies of its root certificate into every namespace."""

_WRITTEN_AT_HOME = (("v1", "Secret"), ("coordination.k8s.io/v1", "Lease"))
"""Kinds in which it keeps that certificate's key, and elects leaders, in its own namespace."""

_OF_KUBERNETES = (("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default"))
"""What every namespace has by itself."""


@dataclass(frozen=True)
class _Space:
    """A namespace that the runbook made.

    Attributes:
        namespace: The namespace.
        foreign: What of others is in it.
        unread: The kinds that are unknown, because they could not be listed.
    """

    namespace: Object
    foreign: list[Object]
    unread: list[str]

    @property
    def why_it_stays(self) -> str:
        """Say what would be lost with it; empty if nothing."""
        if self.foreign:
            others = ", ".join(f"{reference(i)} ({ownership.makers(i)})" for i in self.foreign)
            return f"others have objects in it: {others}"
        if self.unread:
            return f"what is in it could not be read: {', '.join(self.unread)}"
        return ""


@dataclass(frozen=True)
class _Found:
    """What is left on the cluster of the chapters that go.

    Attributes:
        kinds: Definitions of Istio's and Kiali's kinds.
        instances: Objects of these kinds, by the definition's name.
        written: What istiod has written.
        namespaces: The names of istiod's namespace and of that of Kiali's operator.
        spaces: Those that the runbook made.
    """

    kinds: list[Object]
    instances: dict[str, list[Object]]
    written: list[Object]
    namespaces: list[str]
    spaces: list[_Space]

    @property
    def empty(self) -> list[Object]:
        """The namespaces that no one else uses."""
        return [space.namespace for space in self.spaces if not space.why_it_stays]


class _RemoveLeftovers(RollbackStep):
    """Delete what no uninstall deletes, if that was asked for by `rollback.kinds`.

    It has something to do as soon as Kiali's chapter goes; what is Istio's stays with Istio.
    """

    name = "rollback-leftovers"
    chapter = _KIALI
    title = "Delete kinds, Istio's root certificate and the namespaces"
    why = "only then is the cluster as it was; deleting a kind deletes every object of it"
    takes = "seconds"
    risk = "all objects of these kinds are lost for good, and so is the key that certificates go "
    risk += "back to"
    undo = "none: installing again makes new kinds without objects, and a new root certificate"

    def plan_removal(self, context: Context) -> Plan:
        if not context.parameters.rollback.kinds:
            note = "They stay, and do nothing: rollback.kinds is false."
            return Plan(self.name, context.target.uid, note=note)
        found = _look(context)
        changes = [
            *(_definition_change(item, found.instances) for item in found.kinds),
            *(Change.of_object(object_diff(item, None)) for item in found.written),
            *(Change.of_object(object_diff(item, None)) for item in found.empty),
        ]
        note = " ".join(
            f"{reference(space.namespace)} goes once it is empty."
            if context.parameters.mode == "plan"
            else f"{reference(space.namespace)} stays: {space.why_it_stays}."
            for space in found.spaces
            if space.why_it_stays
        )
        return Plan(self.name, context.target.uid, tuple(changes), note=note)

    def dangers(self, context: Context, plan: Plan) -> Iterator[Finding]:
        if plan.empty:
            return
        found = _look(context)
        running = _control_planes(context)
        of_istio = [item for item in found.kinds if not _is_of_kiali(item)]
        if running and (of_istio or found.written):
            yield Finding(
                ", ".join(running),
                "a control plane still uses Istio's kinds and its root certificate",
                "it could not go on without them",
                "uninstall it first",
                parameter=_KEEP_KINDS,
            )
        foreign = [
            f"{reference(item)} ({ownership.makers(item)})"
            for items in found.instances.values()
            for item in items
            if not ownership.is_own(item)
        ]
        if foreign:
            yield Finding(
                ", ".join(foreign),
                "this runbook did not make what would be deleted with its kind",
                "the work of others would be lost for good",
                "save it if it is still needed and delete it yourself",
                parameter=_KEEP_KINDS,
            )

    def remove(self, context: Context, plan: Plan) -> None:
        timeout = context.parameters.timeouts.istiod
        found = _look(context)
        going = [*found.kinds, *found.written, *found.empty]
        objects.delete_objects(context, plan, going, timeout=timeout)

    def verify_removal(self, context: Context) -> Verification:
        if not context.parameters.rollback.kinds:
            stay = "stay: rollback.kinds is false"
            checks = [Check("kinds, root certificate, namespaces", stay, ok=None)]
            return Verification(self.name, (table.of_checks("What is left", checks),))
        found = _look(context)
        kinds = ", ".join(map(reference, found.kinds))
        written = ", ".join(map(reference, found.written))
        checks = [
            Check("kinds", kinds or "gone", not kinds),
            Check("what istiod has written", written or "gone", not written),
            *(self._namespace_check(context, found, name) for name in found.namespaces),
        ]
        return Verification(self.name, (table.of_checks("What is left", checks),))

    @staticmethod
    def _namespace_check(context: Context, found: _Found, name: str) -> Check:
        subject = ref("Namespace", name)
        own = next((s for s in found.spaces if name_of(s.namespace) == name), None)
        if own is not None and own.why_it_stays:
            return Check(subject, f"stays: {own.why_it_stays}", ok=None)
        if own is not None:
            return Check(subject, "still there", ok=False)
        if context.cluster.get("v1", "Namespace", name) is not None:
            return Check(subject, "stays: not of this runbook", ok=None)
        return Check(subject, "gone", ok=True)


def steps(_parameters: Parameters) -> tuple[RollbackStep, ...]:
    """The step that takes back what uninstalling leaves."""
    return (_RemoveLeftovers(),)


def _look(context: Context) -> _Found:
    with_istio, with_kiali = _istio_goes(context), _kiali_goes(context)
    kinds = [
        item
        for item in context.cluster.list(CUSTOM_KINDS, CRD)
        if (with_istio and _is_of_istio(context, item)) or (with_kiali and _is_of_kiali(item))
    ]
    written = _written_by_istiod(context) if with_istio else []
    parameters = context.parameters
    namespaces = [parameters.kiali.operator_namespace] if with_kiali else []
    if with_istio:
        namespaces.append(parameters.istio.namespace)
    spaces = list(_spaces(context, namespaces))
    return _Found(kinds, _instances(context, kinds), written, namespaces, spaces)


def _istio_goes(context: Context) -> bool:
    """Whether Istio is this runbook's to take away: neither kept, nor installed by others."""
    if kept(context, _ISTIO) or "rollback-istio" in context.parameters.rollback.leave_out:
        return False
    if any(preflight.control_plane(context)):
        return False
    releases = (
        istio_releases.base_release(context.parameters),
        istio_releases.istiod_release(context.parameters),
    )
    return all(release.check_removed(context).ok is not None for release in releases)


def _kiali_goes(context: Context) -> bool:
    """Whether nothing of Kiali was left where it is: a resource cannot go without its operator."""
    left_out = context.parameters.rollback.leave_out
    return not {"rollback-kiali", "rollback-kiali-operator"} & set(left_out)


def _spaces(context: Context, namespaces: list[str]) -> Iterator[_Space]:
    for name in namespaces:
        found = context.cluster.get("v1", "Namespace", name)
        if found is not None and ownership.is_own(found):
            inside = context.cluster.everything(name)
            yield _Space(found, list(filter(_is_foreign, inside.objects)), sorted(inside.unread))


def _is_of_istio(context: Context, definition: Object) -> bool:
    """Whether the release istio-base brought a kind."""
    desired = {
        "meta.helm.sh/release-name": context.parameters.istio.base.release,
        "meta.helm.sh/release-namespace": context.parameters.istio.namespace,
    }
    return desired.items() <= annotations_of(definition).items()


def _is_of_kiali(definition: Object) -> bool:
    """Whether the runbook brought one of Kiali's kinds."""
    return definition["spec"]["group"] == "kiali.io" and ownership.is_own(definition)


def _instances(context: Context, kinds: list[Object]) -> dict[str, list[Object]]:
    found = {}
    for item in kinds:
        spec = item["spec"]
        stored = next(version["name"] for version in spec["versions"] if version["storage"])
        version = f"{spec['group']}/{stored}"
        found[name_of(item)] = context.cluster.list(version, spec["names"]["kind"])
    return found


def _written_by_istiod(context: Context) -> list[Object]:
    home = context.parameters.istio.namespace
    found = [
        *(item for kind in _WRITTEN_EVERYWHERE for item in context.cluster.list(*kind)),
        *(item for kind in _WRITTEN_AT_HOME for item in context.cluster.list(*kind, home)),
    ]
    return [item for item in found if set(ownership.managers(item)) == {_ISTIOD}]


def _is_foreign(item: Object) -> bool:
    """Whether an object is neither Kubernetes', nor istiod's, nor owned by another."""
    metadata = item["metadata"]
    return not (
        item["kind"] in ("Event", "EndpointSlice", "Endpoints")
        or (item["kind"], metadata["name"]) in _OF_KUBERNETES
        or metadata.get("ownerReferences")
        or set(ownership.managers(item)) == {_ISTIOD}
    )


def _control_planes(context: Context) -> list[str]:
    found = context.cluster.list(APPS, "Deployment", labels={"app": "istiod"})
    return [reference(item) for item in found]


def _definition_change(definition: Object, instances: dict[str, list[Object]]) -> Change:
    items = instances[name_of(definition)]
    lines = [f"{reference(item)} ({ownership.makers(item)})" for item in items]
    text = "\n".join(["with these objects:", *(f"  {line}" for line in lines)])
    return Change.of_text(reference(definition), "delete", text if items else "without objects")
