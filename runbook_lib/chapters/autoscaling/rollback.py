"""Take the remedies for autoscalers back, before the sidecars go that made them necessary."""

from __future__ import annotations

from runbook_lib.chapters.autoscaling import autoscalers, remedies
from runbook_lib.chapters.shared import RollbackStep
from runbook_lib.cluster import ref
from runbook_lib.lifecycle import Check, Context, Plan, Verification, table
from runbook_lib.parameters import Parameters


class _RestoreAutoscalers(RollbackStep):
    """Give autoscalers their metrics back, and pod templates their sidecars' requests."""

    name = "rollback-autoscaling"
    chapter = "03_autoscaling"
    title = "Give autoscalers the metrics that they had"
    why = "what was changed for the sidecars' sake goes with them, and belongs to its owner again"
    takes = "seconds; after the remedy sidecar-requests as long as the workloads need to start"
    risk = "until the sidecars are gone, autoscalers scale out late again"
    undo = "run 03_autoscaling again"

    def plan_removal(self, context: Context) -> Plan:
        changes = remedies.restore_changes(context)
        lost = remedies.interruptions(context, changes)
        return Plan(self.name, context.target.uid, changes, interruptions=lost)

    def remove(self, context: Context, plan: Plan) -> None:
        remedies.restore(context, {change.ref for change in plan.changes})

    def verify_removal(self, context: Context) -> Verification:
        # What the controller makes of them is no longer the runbook's concern: it may never have
        # worked, and that must not keep anybody from leaving the mesh.
        left = {change.ref for change in remedies.restore_changes(context)}
        checks = [
            Check(
                ref(autoscalers.KIND, each.name, context.parameters.application.namespace),
                ", ".join(metric.text for metric in each.metrics),
                ok=None,
            )
            for each in autoscalers.survey(context).autoscalers
        ]
        checks.append(Check("remedies in place", ", ".join(sorted(left)) or "none", not left))
        return Verification(self.name, (table.of_checks("Autoscalers", checks),))


def steps(_parameters: Parameters) -> tuple[RollbackStep, ...]:
    """The step that takes the remedies back."""
    return (_RestoreAutoscalers(),)
