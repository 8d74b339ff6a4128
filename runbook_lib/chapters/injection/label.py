"""The namespace's label that asks for sidecars."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.chapters.injection.rollback import wait_until_nothing_is_injected
from runbook_lib.chapters.shared import RevertibleStep, objects, observe, preflight, reverting
from runbook_lib.chapters.shared.preflight import aws, workloads
from runbook_lib.chapters.shared.sidecars import labelled_namespace
from runbook_lib.cluster import (
    INJECTION_LABEL,
    REVISION_LABEL,
    Object,
    labels_of,
    merged,
    name_of,
    ref,
    without_fields,
)
from runbook_lib.lifecycle import (
    Check,
    Context,
    Exports,
    Finding,
    Plan,
    Step,
    Table,
    Verification,
    require,
    table,
)
from runbook_lib.mesh import (
    injection,
    injection_label,
    selection_mistakes,
)


class _LabelNamespace(RevertibleStep):
    """Ask for sidecars in the application's namespace."""

    name = "injection-label"
    title = "Label the namespace for sidecar injection"
    why = "istiod adds a sidecar to every pod that is created in a namespace with this label"
    takes = "a second"
    risk = "none yet: running pods stay as they are"
    undo = "remove the label and restart the workloads"

    def obstacles(self, context: Context) -> Iterator[Finding]:
        yield from _namespace_obstacles(context)
        yield from preflight.meshes(context)
        yield from workloads.before_label(context)
        yield from preflight.not_injected(context)
        yield from preflight.injection_undone(context)
        yield from aws.before_label(context)

    def plan(self, context: Context) -> Plan:
        found = tuple(self.obstacles(context))
        require(found)
        plan = objects.plan_objects(context, self.name, self.manifests(context))
        return aws.with_unread(plan, found)

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, self.manifests(context))

    def verify(self, context: Context) -> Verification:
        namespace = context.cluster.get("v1", "Namespace", context.parameters.application.namespace)
        key, value = injection_label(context.parameters)
        found = labels_of(namespace or {}).get(key, "missing")
        checks = [
            Check(f"label {key}", found, found == value),
            injection.check_new_pod(context, injected=True),
        ]
        title = ref("Namespace", context.parameters.application.namespace)
        return Verification(self.name, (table.of_checks(title, checks),))

    def manifests(self, context: Context) -> list[Object]:
        return [labelled_namespace(context.parameters)]

    def exports(self, context: Context) -> Exports:
        return Exports(patches=tuple(self.manifests(context)))

    def part(self, item: Object | None) -> Object | None:
        """Return the namespace with the labels that ask for sidecars, and nothing else."""
        if item is None:
            return None
        named, labels = without_fields(item), labels_of(item)
        own = {key: labels[key] for key in (INJECTION_LABEL, REVISION_LABEL) if key in labels}
        return merged(named, {"metadata": {"labels": own}}) if own else named

    def command(self, context: Context, item: Object, manifest: Object | None) -> str:
        if manifest is None or labels_of(manifest):
            return super().command(context, item, manifest)
        key, _ = injection_label(context.parameters)
        return reverting.kubectl(context, "label", "namespace", name_of(item), f"{key}-")

    def effects(self, context: Context) -> Iterator[Table]:
        wait_until_nothing_is_injected(context)
        new_pod = injection.check_new_pod(context, injected=False)
        yield table.of_checks("Sidecars", [new_pod])
        yield observe.prove_traffic(context)


def step() -> Step:
    """The step that asks for sidecars in the application's namespace."""
    return _LabelNamespace()


def _namespace_obstacles(context: Context) -> Iterator[Finding]:
    """Find that the namespace is missing, or that labels in it contradict what they are for."""
    name = context.parameters.application.namespace
    namespace = context.cluster.get("v1", "Namespace", name)
    if namespace is None:
        yield Finding(
            ref("Namespace", name),
            "does not exist",
            "applying the label would create it, empty",
            "install the application first, or correct application.namespace",
        )
        return
    yield from selection_mistakes(context)
    desired, _ = injection_label(context.parameters)
    (other,) = {INJECTION_LABEL, REVISION_LABEL} - {desired}
    if other in labels_of(namespace):
        yield Finding(
            ref("Namespace", name),
            f"carries the label {other}, which contradicts {desired} (IST0123)",
            f"which revision injects is not the one that {REVISION_LABEL} names",
            f"remove it: kubectl label namespace {name} {other}-; or correct istio.revision",
            (f".metadata.labels.{other}: {labels_of(namespace)[other]}",),
        )
