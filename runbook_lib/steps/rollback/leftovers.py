"""What uninstalling leaves behind: Istio's kinds, the root certificate, the namespace."""

from __future__ import annotations

from dataclasses import dataclass, field

from runbook_lib import manifest, table
from runbook_lib.cluster import Object, ref
from runbook_lib.context import Context
from runbook_lib.diff import object_diff, reference
from runbook_lib.parameters import Parameters
from runbook_lib.plan import Change, Plan
from runbook_lib.step import Verification
from runbook_lib.steps import objects, ownership
from runbook_lib.steps.release import CRD
from runbook_lib.steps.rollback.base import RollbackStep, refused
from runbook_lib.table import Check

_CRD_API = "apiextensions.k8s.io/v1"
_ISTIOD = "pilot-discovery"
"""Istiod's field manager: what it has written and nobody else is of no use without it."""

_WRITTEN_BY_ISTIOD = (("v1", "ConfigMap"), ("v1", "Secret"), ("coordination.k8s.io/v1", "Lease"))
"""Copies of the root certificate in every namespace, its key, and leader elections."""

_OF_KUBERNETES = (("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default"))
"""What every namespace has by itself."""


@dataclass(frozen=True)
class _Found:
    """What is left on the cluster.

    Attributes:
        kinds: Definitions of Istio's kinds.
        instances: Objects of these kinds, by the definition's name.
        written: What istiod has written.
        namespace: Istiod's namespace, if the runbook made it; None otherwise.
        foreign: What else is in that namespace.
    """

    kinds: list[Object]
    instances: dict[str, list[Object]]
    written: list[Object]
    namespace: Object | None = None
    foreign: list[Object] = field(default_factory=list)


class _RemoveLeftovers(RollbackStep):
    """Delete what no uninstall deletes, if that was asked for by `rollback.kinds`."""

    name = "rollback-leftovers"
    chapter = "01_install_istio"
    title = "Delete Istio's kinds, its root certificate and its namespace"
    why = "only then is the cluster as it was; deleting a kind deletes every object of it"
    takes = "seconds"
    risk = (
        "all of Istio's objects are lost for good, and so is the key that certificates go back to"
    )
    undo = "none: installing again makes new kinds without objects, and a new root certificate"

    def plan_removal(self, context: Context) -> Plan:
        if not context.parameters.rollback.kinds:
            note = "They stay, and do nothing: rollback.kinds is false."
            return Plan(self.name, context.target.uid, note=note)
        found = _look(context)
        unpredictable = list(filter(None, [self._foreign_objects(context, found)]))
        running = _control_planes(context)
        if running and found.kinds:
            reason = refused(
                context,
                f"a control plane still uses Istio's kinds: {', '.join(running)}",
                "uninstall it first, or set rollback.kinds: false",
            )
            unpredictable.append(reason)
        changes = [
            *(_definition_change(item, found.instances) for item in found.kinds),
            *(Change.of_object(object_diff(item, None)) for item in found.written),
        ]
        note = ""
        if found.namespace is not None and not found.foreign:
            changes.append(Change.of_object(object_diff(found.namespace, None)))
        elif found.namespace is not None:
            others = ", ".join(f"{reference(i)} ({ownership.makers(i)})" for i in found.foreign)
            note = f"{reference(found.namespace)} stays: others have objects in it: {others}."
            if context.parameters.mode == "plan":
                note = f"{reference(found.namespace)} goes once it is empty."
        return Plan(self.name, context.target.uid, tuple(changes), tuple(unpredictable), note=note)

    def remove(self, context: Context, plan: Plan) -> None:
        timeout = context.parameters.timeouts.istiod
        found = _look(context)
        going = [*found.kinds, *found.written]
        if found.namespace is not None:
            going.append(found.namespace)
        objects.delete_objects(context, plan, going, timeout=timeout)

    def verify_removal(self, context: Context) -> Verification:
        found = _look(context)
        wanted = context.parameters.rollback.kinds
        kinds = f"{len(found.kinds)} stay" if found.kinds else "gone"
        # Which of istiod's leader elections took place differs from run to run.
        written = ", ".join(map(reference, found.written)) if wanted else "stays"
        checks = [
            Check("Istio's kinds", kinds, not found.kinds if wanted else None),
            Check(
                "what istiod has written",
                written if found.written else "gone",
                not found.written if wanted else None,
            ),
            self._namespace_check(context, found),
        ]
        ok = table.all_ok(checks)
        return Verification(self.name, ok, (table.of_checks("Left of Istio", checks),))

    @staticmethod
    def _namespace_check(context: Context, found: _Found) -> Check:
        name = context.parameters.istio.namespace
        subject = ref("Namespace", name)
        if found.namespace is not None and found.foreign:
            others = ", ".join(map(reference, found.foreign))
            return Check(subject, f"stays: others have objects in it: {others}", ok=None)
        if found.namespace is not None:
            wanted = context.parameters.rollback.kinds
            return Check(subject, "still there" if wanted else "stays", False if wanted else None)
        if context.cluster.get("v1", "Namespace", name) is not None:
            return Check(subject, "stays: not of this runbook", ok=None)
        return Check(subject, "gone", ok=True)

    @staticmethod
    def _foreign_objects(context: Context, found: _Found) -> str:
        """Refuse to delete objects of others with their kinds."""
        foreign = [
            f"{reference(item)} ({ownership.makers(item)})"
            for items in found.instances.values()
            for item in items
            if not ownership.is_own(item)
        ]
        if not foreign:
            return ""
        return refused(
            context,
            "with Istio's kinds, objects would be deleted that this runbook did not make: "
            f"{', '.join(foreign)}",
            "save them if they are still needed and delete them yourself, or set "
            "rollback.kinds: false",
        )


def steps(_parameters: Parameters) -> tuple[RollbackStep, ...]:
    """The step that takes back what uninstalling leaves."""
    return (_RemoveLeftovers(),)


def _look(context: Context) -> _Found:
    kinds = _definitions(context)
    namespace = objects.live(context, manifest.istio_namespace(context.parameters))
    if namespace is not None and not ownership.is_own(namespace):
        namespace = None
    written = _written_by_istiod(context)
    foreign = [] if namespace is None else _foreign_in(context, namespace, written)
    return _Found(kinds, _instances(context, kinds), written, namespace, foreign)


def _definitions(context: Context) -> list[Object]:
    """Return the kinds that the release istio-base brought."""
    release = context.parameters.istio.base.release
    wanted = {
        "meta.helm.sh/release-name": release,
        "meta.helm.sh/release-namespace": context.parameters.istio.namespace,
    }
    return [
        item
        for item in context.cluster.list(_CRD_API, CRD)
        if wanted.items() <= (item["metadata"].get("annotations") or {}).items()
    ]


def _instances(context: Context, kinds: list[Object]) -> dict[str, list[Object]]:
    found = {}
    for item in kinds:
        spec = item["spec"]
        stored = next(version["name"] for version in spec["versions"] if version["storage"])
        version = f"{spec['group']}/{stored}"
        found[item["metadata"]["name"]] = context.cluster.list(version, spec["names"]["kind"])
    return found


def _written_by_istiod(context: Context) -> list[Object]:
    return [
        item
        for version, kind in _WRITTEN_BY_ISTIOD
        for item in context.cluster.list(version, kind)
        if set(ownership.managers(item)) == {_ISTIOD}
    ]


def _foreign_in(context: Context, namespace: Object, written: list[Object]) -> list[Object]:
    """Return what a namespace holds that is neither Kubernetes', istiod's, nor owned by others."""
    expected = {reference(item) for item in written}

    def is_foreign(item: Object) -> bool:
        metadata = item["metadata"]
        return not (
            item["kind"] in ("Event", "EndpointSlice", "Endpoints")
            or (item["kind"], metadata["name"]) in _OF_KUBERNETES
            or metadata.get("ownerReferences")
            or reference(item) in expected
        )

    return list(filter(is_foreign, context.cluster.list_everything(namespace["metadata"]["name"])))


def _control_planes(context: Context) -> list[str]:
    found = context.cluster.list("apps/v1", "Deployment", labels={"app": "istiod"})
    return [reference(item) for item in found]


def _definition_change(definition: Object, instances: dict[str, list[Object]]) -> Change:
    items = instances[definition["metadata"]["name"]]
    lines = [f"{reference(item)} ({ownership.makers(item)})" for item in items]
    text = "\n".join(["with these objects:", *(f"  {line}" for line in lines)])
    return Change.of_text(reference(definition), "delete", text if items else "without objects")
