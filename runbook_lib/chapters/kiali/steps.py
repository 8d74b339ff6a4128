"""Kiali: its operator, what it reads, the resource that describes it, and who may look."""

from __future__ import annotations

from typing import Any

from runbook_lib.chapters.kiali import addons, manifest, tracing
from runbook_lib.chapters.kiali import readers as kiali_readers
from runbook_lib.chapters.kiali.instance import describing
from runbook_lib.chapters.shared import definitions, objects
from runbook_lib.chapters.shared.preflight.nodes import on_no_node
from runbook_lib.chapters.shared.release import ReleasePlanner, Source
from runbook_lib.cluster import (
    APPS,
    CRD,
    Object,
    name_of,
    ref,
)
from runbook_lib.lifecycle import (
    Change,
    Check,
    Context,
    Exports,
    Plan,
    Step,
    Verification,
    require,
    table,
)
from runbook_lib.mesh import rollout
from runbook_lib.parameters import Parameters


class _InstallOperator(Step):
    """Install the chart of Kiali's operator."""

    name = "kiali-operator"
    title = "Install Kiali's operator"
    why = "the operator makes Kiali of one resource, and puts back what is changed behind its back"
    takes = "a minute; longer where the image has to be pulled"
    risk = "none for the application; the operator may create roles in the whole cluster"
    undo = "delete the Kiali resource first, then uninstall the release: without its operator the "
    undo += "resource could not be deleted any more"

    def __init__(self, parameters: Parameters) -> None:
        self._namespace = parameters.kiali.operator_namespace
        self._release = operator_release(parameters)

    def plan(self, context: Context) -> Plan:
        planned = objects.plan_objects(context, self.name, self._first(context))
        release = self._release.changes(context)
        tolerations = "kiali.operator.values.tolerations"
        made = self._deployments(context) if release else ()
        found = tuple(on_no_node(context, made, tolerations))
        require(found)
        return Plan(
            self.name,
            context.target.uid,
            planned.changes + release,
            planned.unpredictable,
            " ".join(each.sentence for each in found),
        )

    def drift(self, context: Context) -> tuple[Change, ...]:
        return (*super().drift(context), *self._release.drift(context))

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, self._first(context))
        self._release.apply(context, plan)
        for deployment in self._deployments(context):
            rollout.wait_until_complete(
                context,
                "Deployment",
                name_of(deployment),
                self._namespace,
                timeout=context.parameters.timeouts.kiali,
            )

    def verify(self, context: Context) -> Verification:
        kinds = [item for item in self._release.rendered(context) if item["kind"] == CRD]
        names = {name_of(item) for item in kinds}
        definitions.wait_until_served(
            context, "Kiali's kinds", names, timeout=context.parameters.timeouts.kiali
        )
        checks = [
            self._release.check(context),
            *(self._deployment_check(context, item) for item in self._deployments(context)),
            Check("Kiali's kinds", f"{len(names)} of {len(names)} served", ok=bool(names)),
        ]
        return Verification(self.name, (table.of_checks("Operator", checks),))

    def exports(self, context: Context) -> Exports:
        namespace = manifest.operator_namespace(context.parameters)
        kinds = self._release.definitions(context)
        return Exports((namespace, *kinds), releases=(self._release.exported(context),))

    def _first(self, context: Context) -> list[Object]:
        """The namespace, and the kinds: Helm would install them once and never bring them up."""
        namespace = manifest.operator_namespace(context.parameters)
        return [
            *objects.own_namespace(context, namespace),
            *self._release.definitions(context),
        ]

    def _deployments(self, context: Context) -> list[Object]:
        return [item for item in self._release.rendered(context) if item["kind"] == "Deployment"]

    def _deployment_check(self, context: Context, rendered: Object) -> Check:
        name = name_of(rendered)
        where = ref("Deployment", name, self._namespace)
        found = context.cluster.get(APPS, "Deployment", name, self._namespace)
        if found is None:
            return Check(where, "missing", ok=False)
        done, counts = rollout.progress(found)
        return Check(where, counts, done)


def operator_release(parameters: Parameters) -> ReleasePlanner:
    """The release with the operator."""
    kiali = parameters.kiali
    source = Source(
        kiali.operator_namespace,
        kiali.chart_repository,
        kiali.version,
        parameters.timeouts.kiali,
    )
    return ReleasePlanner(kiali.operator, source, _from_hub(parameters))


def _from_hub(parameters: Parameters) -> dict[str, Any]:
    """Return the values that take the images from elsewhere than Kiali's own registry.

    See https://kiali.io/docs/installation/installation-guide/advanced-install-options/.
    """
    kiali = parameters.kiali
    if kiali.hub is None:
        return {}
    given = kiali.operator.values.get("image") or {}
    image = {**given, "repo": f"{kiali.hub}/kiali-operator"}
    return {"image": image, "allowAdHocKialiImage": True}


def steps(parameters: Parameters) -> tuple[Step, ...]:
    """The chapter; its order does not depend on the story."""
    return (
        _InstallOperator(parameters),
        addons.step(parameters),
        tracing.step(parameters),
        describing.step(parameters),
        kiali_readers.step(),
    )
