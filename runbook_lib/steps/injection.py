"""Sidecars: label the namespace, then restart what has none yet."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

from runbook_lib import manifest, pods, rollout, table
from runbook_lib.cluster import Object, ref
from runbook_lib.context import Context
from runbook_lib.errors import RunbookError
from runbook_lib.parameters import Parameters
from runbook_lib.plan import Change, Plan
from runbook_lib.step import Step, Verification
from runbook_lib.steps import objects, observe, preflight
from runbook_lib.table import Check

_INJECT = "sidecar.istio.io/inject"
"""Pods marked `false` with this label or annotation want no sidecar."""


class _LabelNamespace(Step):
    """Ask for sidecars in the application's namespace."""

    name = "injection-label"
    title = "Label the namespace for sidecar injection"
    why = "istiod adds a sidecar to every pod that is created in a namespace with this label"
    takes = "a second"
    risk = "none yet: running pods stay as they are"
    undo = "remove the label and restart the workloads"

    def plan(self, context: Context) -> Plan:
        _require_namespace(context)
        preflight.require(preflight.meshes(context))
        return objects.plan_objects(
            context, self.name, [manifest.injection_label(context.parameters)]
        )

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, [manifest.injection_label(context.parameters)])

    def verify(self, context: Context) -> Verification:
        namespace = _require_namespace(context)
        key, value = manifest.injection_label_of(context.parameters)
        found = namespace["metadata"].get("labels", {}).get(key, "missing")
        checks = [
            Check(f"label {key}", found, found == value),
            Check("sidecar of a new pod", *try_injection(context)),
        ]
        title = ref("Namespace", context.parameters.application.namespace)
        return Verification(self.name, table.all_ok(checks), (table.of_checks(title, checks),))


@dataclass(frozen=True)
class _Restart:
    """A workload to restart, and why."""

    workload: Object
    reason: str

    @property
    def ref(self) -> str:
        metadata = self.workload["metadata"]
        return ref(self.workload["kind"], metadata["name"], metadata["namespace"])


class _RestartWorkloads(Step):
    """Replace pods that were created before the label."""

    name = "injection-restart"
    title = "Restart the workloads whose pods have no sidecar"
    why = "a sidecar is added only when a pod is created"
    takes = "as long as each workload needs to start, one after the other"
    risk = "each workload is away while its pods are replaced, unless it has several"
    undo = "remove the namespace's label and restart again"

    def plan(self, context: Context) -> Plan:
        namespace = context.parameters.application.namespace
        preflight.require(preflight.namespace(context, namespace), preflight.webhooks(context))
        changes = [
            Change.of_text(restart.ref, "restart", restart.reason) for restart in _restarts(context)
        ]
        return Plan(self.name, context.target.uid, tuple(changes))

    def apply(self, context: Context, plan: Plan) -> None:
        planned = {change.ref for change in plan.changes}
        for restart in _restarts(context):
            if restart.ref not in planned:
                continue
            metadata = restart.workload["metadata"]
            where = (restart.workload["kind"], metadata["name"], metadata["namespace"])
            context.cluster.restart(*where, "istio-runbook: the pods have no sidecar")
            rollout.wait_until_complete(
                context,
                *where,
                timeout=context.parameters.timeouts.rollout,
                refuse=_created_without_sidecar,
            )

    def verify(self, context: Context) -> Verification:
        application = context.parameters.application
        found = list(_pods_for_sidecars(context))
        ok = bool(found) and all(_lack(pod) == "" for pod in found)
        note = "" if found else f"There are no pods in {application.namespace}."
        tables = observe.pod_table(context, application.namespace), observe.prove_traffic(context)
        return Verification(self.name, ok, tables, note)


def steps(_parameters: Parameters) -> tuple[Step, ...]:
    """The chapter; its order does not depend on the story."""
    return _LabelNamespace(), _RestartWorkloads()


def _require_namespace(context: Context) -> Object:
    """Return the application's namespace: applying a label must not create one.

    Raises:
        RunbookError: There is none, or its labels contradict each other.
    """
    name = context.parameters.application.namespace
    namespace = context.cluster.get("v1", "Namespace", name)
    if namespace is None:
        raise RunbookError(
            f"there is no namespace {name}",
            "install the application first, or correct application.namespace",
        )
    wanted, _ = manifest.injection_label_of(context.parameters)
    (other,) = {manifest.INJECTION_LABEL, manifest.REVISION_LABEL} - {wanted}
    if other in namespace["metadata"].get("labels", {}):
        raise RunbookError(
            f"namespace {name} carries the label {other}, which contradicts {wanted} (IST0123)",
            f"remove it: kubectl label namespace {name} {other}-; or correct istio.revision",
        )
    return namespace


def try_injection(context: Context) -> tuple[str, bool]:
    """Ask for a pod like the web pods as a dry run: admission webhooks answer as for a real one.

    Returns:
        The sidecar that it would get, in words, and whether it would get one.

    Raises:
        RunbookError: There is no web workload.
        ClusterRefused: The API server refuses the pod, as when a webhook does not answer.
    """
    application = context.parameters.application
    web = application.web
    workload = context.cluster.get("apps/v1", web.kind, web.name, application.namespace)
    if workload is None:
        where = ref(web.kind, web.name, application.namespace)
        raise RunbookError(f"there is no {where}", "correct application.web")
    pod = copy.deepcopy(workload["spec"]["template"])
    pod.update(apiVersion="v1", kind="Pod")
    pod["metadata"] = {
        "name": f"{web.name[:40]}-injection-check",
        "namespace": application.namespace,
        "labels": pod["metadata"].get("labels", {}),
        "annotations": pod["metadata"].get("annotations", {}),
    }
    answer = context.cluster.apply(pod, dry_run=True)
    return ("istio-proxy", True) if pods.has_sidecar(answer) else ("none", False)


def _restarts(context: Context) -> list[_Restart]:
    """Return the workloads to restart, in the order of the parameters.

    Raises:
        RunbookError: Something lacks a sidecar, and restarting what is listed would not help.
    """
    application = context.parameters.application
    restarts = []
    covered: set[str] = set()
    for entry in application.restart_order:
        kind, _, name = entry.partition("/")
        workload = context.cluster.get("apps/v1", kind, name, application.namespace)
        if workload is None:
            raise RunbookError(
                f"there is no {ref(kind, name, application.namespace)}",
                "correct application.restart_order",
            )
        found = rollout.pods_of(context, workload)
        covered.update(pod["metadata"]["name"] for pod in found)
        reasons = [
            f"{pod['metadata']['name']}: {lack}"
            for pod in found
            if wants_sidecar(pod) and (lack := _lack(pod))
        ]
        if reasons:
            rollout.require_rolling_update(workload)
            restarts.append(_Restart(workload, "\n".join(sorted(reasons))))
    for pod in _pods_for_sidecars(context):
        name = pod["metadata"]["name"]
        if name not in covered and _lack(pod):
            raise RunbookError(
                f"pod {application.namespace}/{name} {_lack(pod)}, and belongs to no workload in "
                "application.restart_order",
                "add its workload there, or mark the pod's template with the label "
                f"{_INJECT}: 'false'",
            )
    return restarts


def _pods_for_sidecars(context: Context) -> Iterator[Object]:
    """Yield the namespace's pods that shall have a sidecar."""
    for pod in context.cluster.list("v1", "Pod", context.parameters.application.namespace):
        if not rollout.has_ended(pod) and wants_sidecar(pod):
            yield pod


def wants_sidecar(pod: Object) -> bool:
    """Whether istiod would inject: not into pods on the host's network, nor where told not to."""
    metadata = pod["metadata"]
    marks = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
    return not pod["spec"].get("hostNetwork") and marks.get(_INJECT, "true") != "false"


def _lack(pod: Object) -> str:
    """Say what a pod lacks to be in the mesh; empty if nothing."""
    sidecar = next((c for c in pods.containers(pod) if c.name == pods.PROXY), None)
    if sidecar is None:
        return "has no istio-proxy"
    return "" if sidecar.ready else "has an istio-proxy that is not ready"


def _created_without_sidecar(pod: Object) -> str:
    if not wants_sidecar(pod) or pods.has_sidecar(pod):
        return ""
    return (
        f"pod {pod['metadata']['name']} was created without istio-proxy: "
        "check the namespace's label and the webhook with istioctl x check-inject"
    )
