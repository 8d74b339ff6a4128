"""Take Kiali back: the resource while its operator runs, the add-ons, and the operator last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from runbook_lib.base import KindNotInstalled, WaitTimeout
from runbook_lib.chapters.kiali import access as kiali_access
from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.kiali import readers as kiali_readers
from runbook_lib.chapters.kiali import steps as kiali
from runbook_lib.chapters.shared import RollbackStep, gone, objects
from runbook_lib.cluster import (
    APPS,
    NETWORKING,
    Everything,
    Object,
    live_object,
    ownership,
    reference,
)
from runbook_lib.lifecycle import Check, Context, Finding, Plan, Verification, table
from runbook_lib.mesh import rollout
from runbook_lib.parameters import Parameters


class _RemoveKiali(RollbackStep):
    """Delete the accounts of readers and the Kiali resource; its operator deletes the rest."""

    name = "rollback-kiali"
    chapter = "06_kiali"
    title = "Delete Kiali and the accounts of its readers"
    why = "what the operator made of the resource, only the operator removes completely"
    takes = "seconds; a minute where a load balancer has to go"
    risk = "none for the application; no one can look at the mesh through Kiali any more"
    undo = "run 06_kiali again"

    def __init__(self) -> None:
        super().__init__()
        self._deleted = False

    def plan_removal(self, context: Context) -> Plan:
        resource = manifest.kiali(context.parameters)
        items = [*kiali_readers.everything(context), resource]
        plan = objects.plan_deletion(context, self.name, items)
        if reference(resource) not in {change.ref for change in plan.changes}:
            return plan
        note = "The operator deletes what it made of the resource."
        return replace(plan, note=" ".join(filter(None, [plan.note, note])))

    def dangers(self, context: Context, plan: Plan) -> Iterator[Finding]:
        parameters = context.parameters
        resource = reference(manifest.kiali(parameters))
        if resource not in {change.ref for change in plan.changes}:
            return
        if missing := _why_no_operator(context):
            yield Finding(
                resource,
                f"its operator deletes it, and {missing}",
                "it could not be deleted",
                "run 06_kiali again, which brings the operator back, and then this; see what is "
                f"wrong with it: {kiali_access.operator_log_command(parameters)}",
            )

    def remove(self, context: Context, plan: Plan) -> None:
        parameters = context.parameters
        items = [*kiali_readers.everything(context), manifest.kiali(parameters)]
        try:
            objects.delete_objects(context, plan, items, timeout=parameters.timeouts.kiali)
            self._deleted = reference(items[-1]) in {change.ref for change in plan.changes}
        except WaitTimeout as error:
            raise WaitTimeout(
                error.what,
                error.last_state,
                error.elapsed,
                "see why the operator does not let it go: "
                f"{kiali_access.operator_log_command(parameters)}",
            ) from error
        for item in _made_by_operator(context) if self._deleted else ():
            # A controller holds a load balancer's Service or Ingress until AWS has deleted it.
            live = live_object(context.cluster, item)
            if live is not None and "deletionTimestamp" in live["metadata"]:
                objects.wait_until_gone(context, item, timeout=parameters.timeouts.kiali)

    def verify_removal(self, context: Context) -> Verification:
        parameters = context.parameters
        resource = manifest.kiali(parameters)
        readers = list(filter(ownership.is_own, kiali_readers.everything(context)))
        checks = [
            gone(context, resource),
            Check("accounts of readers", ", ".join(map(reference, readers)) or "gone", not readers),
        ]
        if self._deleted:  # otherwise what is there by these names is of others
            checks += [self._operator_deleted(context, item) for item in _made_by_operator(context)]
        return Verification(self.name, (table.of_checks("Kiali", checks),))

    @staticmethod
    def _operator_deleted(context: Context, item: Object) -> Check:
        left = live_object(context.cluster, item) is not None
        return Check(reference(item), "still there" if left else "gone", not left)


class _StopTracing(RollbackStep):
    """Delete the object by which sidecars report requests."""

    name = "rollback-tracing"
    chapter = "06_kiali"
    title = "Have sidecars report no traces any more"
    why = "Jaeger, to which they report, goes next"
    takes = "seconds"
    risk = "none for the application; the provider in the mesh config stays, and does nothing alone"
    undo = "run 06_kiali again"

    def plan_removal(self, context: Context) -> Plan:
        return objects.plan_deletion(context, self.name, self._manifests(context))

    def remove(self, context: Context, plan: Plan) -> None:
        timeout = context.parameters.timeouts.policy
        objects.delete_objects(context, plan, self._manifests(context), timeout=timeout)

    def verify_removal(self, context: Context) -> Verification:
        checks = [gone(context, item) for item in self._manifests(context)]
        return Verification(self.name, (table.of_checks("Traces", checks),))

    @staticmethod
    def _manifests(context: Context) -> list[Object]:
        return [manifest.telemetry(context.parameters)]


class _RemoveAddons(RollbackStep):
    """Delete every object of Prometheus and Jaeger that the runbook applied."""

    name = "rollback-addons"
    chapter = "06_kiali"
    title = "Delete Prometheus and Jaeger"
    why = "Kiali was what read them; those of others, named by the parameters, stay"
    takes = "seconds"
    risk = "what they have measured and traced is lost, because the samples keep it in their pods"
    undo = "run 06_kiali again; it begins without data"

    def plan_removal(self, context: Context) -> Plan:
        return objects.plan_deletion(context, self.name, _addon_objects(_labelled(context)))

    def remove(self, context: Context, plan: Plan) -> None:
        timeout = context.parameters.timeouts.kiali
        found = _addon_objects(_labelled(context))
        objects.delete_objects(context, plan, found, timeout=timeout)

    def verify_removal(self, context: Context) -> Verification:
        found = _labelled(context)
        left = [item for item in _addon_objects(found) if ownership.is_own(item)]
        checks = [Check("objects of add-ons", ", ".join(map(reference, left)) or "gone", not left)]
        if found.unread:
            checks.append(Check("could not be read", ", ".join(sorted(found.unread)), ok=None))
        return Verification(self.name, (table.of_checks("Add-ons", checks),))


class _UninstallOperator(RollbackStep):
    """Uninstall the operator's release, once nothing needs it."""

    name = "rollback-kiali-operator"
    chapter = "06_kiali"
    title = "Uninstall Kiali's operator"
    why = "without a Kiali resource it has nothing to do"
    takes = "seconds"
    risk = "a Kiali resource that is left could not be deleted any more; so with one it is refused"
    undo = "run 06_kiali again"

    def __init__(self, parameters: Parameters) -> None:
        super().__init__()
        self._release = kiali.operator_release(parameters)

    def plan_removal(self, context: Context) -> Plan:
        change, stays = self._release.removal(context)
        changes = (change,) if change is not None else ()
        return Plan(self.name, context.target.uid, changes, note=stays)

    def dangers(self, context: Context, plan: Plan) -> Iterator[Finding]:
        left = ", ".join(map(reference, _resources(context)))
        if left and not plan.empty:
            yield Finding(
                self._release.ref,
                f"the operator still has to delete what it made of: {left}",
                "without it these could not be deleted",
                "run the step before; delete those of others yourself, while the operator runs",
            )

    def remove(self, context: Context, plan: Plan) -> None:
        self._release.uninstall(context, plan)

    def verify_removal(self, context: Context) -> Verification:
        check = self._release.check_removed(context)
        return Verification(self.name, (table.of_checks("Operator", [check]),))


def steps(parameters: Parameters) -> tuple[RollbackStep, ...]:
    """The steps that take Kiali back, in order."""
    return _RemoveKiali(), _StopTracing(), _RemoveAddons(), _UninstallOperator(parameters)


def _why_no_operator(context: Context) -> str:
    """Say why no operator would act on a resource; empty if one would."""
    found = kiali_access.operator_deployment(context)
    if found is None:
        return f"there is none in {context.parameters.kiali.operator_namespace}"
    if not (found.get("status") or {}).get("availableReplicas", 0):
        return f"{reference(found)} is not available: {rollout.progress(found)[1]}"
    return ""


def _made_by_operator(context: Context) -> list[Object]:
    """Return the objects by which a Kiali that is left over would show."""
    parameters = context.parameters
    name, namespace = parameters.kiali.name, parameters.istio.namespace
    account = kiali_access.account(parameters)
    return [
        {"apiVersion": version, "kind": kind, "metadata": {"name": each, "namespace": namespace}}
        for version, kind, each in (
            (APPS, "Deployment", name),
            ("v1", "Service", name),
            ("v1", "ServiceAccount", account),
            *([(NETWORKING, "Ingress", name)] if manifest.ingress_class(parameters) else []),
        )
    ]


def _addon_objects(found: Everything) -> list[Object]:
    """Return what is to be deleted of what carries the add-ons' label, workloads first."""
    marked = [
        item
        for item in found.objects
        # What controllers copy the labels to goes with its owner, or with its Service.
        if not item["metadata"].get("ownerReferences") and item["kind"] != "Endpoints"
    ]
    return sorted(marked, key=lambda item: "template" not in (item.get("spec") or {}))


def _labelled(context: Context) -> Everything:
    return context.cluster.everything(labels=manifest.ADDON)


def _resources(context: Context) -> list[Object]:
    """Return the Kiali resources of all namespaces."""
    try:
        return context.cluster.list(manifest.API, "Kiali")
    except KindNotInstalled:
        return []
