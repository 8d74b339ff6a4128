"""Take the sidecars back: the label, then the pods that have one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from runbook_lib.base import ClusterRefused, wait
from runbook_lib.chapters.shared import RollbackStep, objects, observe
from runbook_lib.chapters.shared.sidecars import labelled_namespace, owners
from runbook_lib.cluster import (
    APPS,
    PROXY,
    Object,
    labels_of,
    live_object,
    name_of,
    object_diff,
    ownership,
    place_of,
    pods,
    ref,
    reference,
    without_fields,
)
from runbook_lib.lifecycle import (
    Change,
    Check,
    Context,
    Finding,
    Plan,
    Verification,
    require,
    table,
)
from runbook_lib.mesh import injection, injection_label, of_replacement, patience, rollout
from runbook_lib.parameters import Parameters

_REASON = "istio-runbook: the pods leave the mesh"
_TEMPLATE = "spec.template"


@dataclass(frozen=True)
class _Restart:
    """A workload whose pods have sidecars.

    Attributes:
        workload: As it is.
        reason: Why to restart it: which pods have one.
        underway: Whether the pods are being replaced already.
    """

    workload: Object
    reason: str
    underway: bool

    @property
    def ref(self) -> str:
        return reference(self.workload)

    @property
    def is_marked(self) -> bool:
        """Whether the runbook's own annotations are in the pod template."""
        return ownership.owns(self.workload, _TEMPLATE)


class _RemoveSidecars(RollbackStep):
    """Remove the label and restart what has a sidecar."""

    name = "rollback-sidecars"
    chapter = "02_label_namespace"
    title = "Remove the label and restart what has a sidecar"
    why = "a pod keeps its sidecar until it is replaced, and must not outlive istiod with it"
    takes = "as long as each workload needs to start, one after the other"
    risk = "each workload is away while its pods are replaced, unless it has several"
    undo = "run 02_label_namespace again"

    def plan_removal(self, context: Context) -> Plan:
        planned = objects.plan_objects(context, self.name, self._label(context))
        left = "" if planned.changes else _label_of_others(context)
        restarts = list(_restarts(context))
        changes = (_change(context, restart) for restart in restarts)
        lost = (each for restart in restarts for each in of_replacement(context, restart.workload))
        notes = [f"It stays: {left}."] if left else []
        notes += map(owners.note, owners.unfinished(context, sidecars=False))
        return Plan(
            self.name,
            context.target.uid,
            (*planned.changes, *changes),
            note=" ".join(notes),
            interruptions=tuple(lost),
        )

    def dangers(self, context: Context, plan: Plan) -> Iterator[Finding]:
        namespace = context.parameters.application.namespace
        where = ref("Namespace", namespace)
        if plan.empty or where in {change.ref for change in plan.changes}:
            return
        if left := _label_of_others(context):
            yield Finding(
                where,
                left,
                "new pods would get sidecars again",
                f"remove it: kubectl label namespace {namespace} "
                f"{injection_label(context.parameters)[0]}-",
            )

    def remove(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, self._label(context))
        wait_until_nothing_is_injected(context)
        planned = {change.ref for change in plan.changes}
        owners.wait(context, sidecars=False)
        for restart in _restarts(context):
            if restart.ref not in planned:
                continue
            where = place_of(restart.workload)
            if restart.is_marked:
                # The template becomes what it was before, which replaces the pods by itself.
                context.cluster.apply(without_fields(restart.workload))
            elif not restart.underway:
                context.cluster.restart(*where, _REASON)
            rollout.wait_until_complete(
                context,
                *where,
                refuse=_created_with_sidecar,
            )
        self.traffic(context)

    def verify_removal(self, context: Context) -> Verification:
        application = context.parameters.application
        key, _ = injection_label(context.parameters)
        namespace = context.cluster.get("v1", "Namespace", application.namespace) or {}
        value = labels_of(namespace).get(key)
        owners.wait(context, sidecars=False)
        _wait_until_none_is_leaving(context)
        new_pod = injection.check_new_pod(context, injected=False)
        found = _pods_with_sidecars(context)
        left = [name_of(pod) for pod in found if not pods.is_of_job(pod)]
        ending = [name_of(pod) for pod in found if pods.is_of_job(pod)]
        foreign = value is not None and bool(_label_of_others(context))
        checks = [
            Check(f"label {key}", value or "gone", None if foreign else value is None),
            replace(new_pod, ok=None) if foreign else new_pod,
            Check("pods with a sidecar", ", ".join(left) or "none", not left),
        ]
        if ending:
            said = f"{', '.join(ending)}: they end by themselves"
            checks.append(Check("pods of Jobs with a sidecar", said, ok=None))
        tables = (
            table.of_checks(ref("Namespace", application.namespace), checks),
            observe.pod_table(context, application.namespace),
            self.traffic(context),
        )
        return Verification(self.name, tables)

    @staticmethod
    def _label(context: Context) -> list[Object]:
        """Return the namespace without the label, if the runbook set it."""
        labelled = labelled_namespace(context.parameters)
        found = live_object(context.cluster, labelled)
        own = found is not None and ownership.owns(found, "metadata.labels")
        return [without_fields(labelled)] if own else []


def steps(_parameters: Parameters) -> tuple[RollbackStep, ...]:
    """The step that takes the sidecars back."""
    return (_RemoveSidecars(),)


def _restarts(context: Context) -> Iterator[_Restart]:
    """Yield the workloads whose pods have sidecars, in the order of the parameters.

    Raises:
        Refused: A pod has a sidecar, and restarting what is listed would not replace it.
    """
    application = context.parameters.application
    covered: set[str] = set()
    for kind, name in application.workloads:
        workload = context.cluster.get(APPS, kind, name, application.namespace)
        if workload is None:
            continue
        found = [
            pod
            for pod in rollout.pods_of(context, workload)
            if pods.has_sidecar(pod) and not pods.is_leaving(pod)
        ]
        covered.update(name_of(pod) for pod in found)
        if found:
            require(rollout.held(workload))
            names = sorted(name_of(pod) for pod in found)
            reason = "\n".join(f"{pod}: has {PROXY}" for pod in names)
            yield _Restart(workload, reason, rollout.replaces(workload, found))
    require(
        Finding(
            reference(pod),
            "it has a sidecar, and belongs to no workload in application.restart_order",
            "it would keep the sidecar, and lose its certificate once istiod is away",
            "add its workload there, or delete the pod yourself",
        )
        for pod in _pods_with_sidecars(context)
        if name_of(pod) not in covered
        and pods.workload_of(pod) not in application.owners
        and not pods.is_leaving(pod)
        and not pods.is_of_job(pod)
    )


def _change(context: Context, restart: _Restart) -> Change:
    if restart.is_marked:
        desired = context.cluster.apply(without_fields(restart.workload), dry_run=True)
        diff = object_diff(restart.workload, desired)
        return Change(restart.ref, "restart", f"{restart.reason}\n{diff.text}", diff.digest)
    # Which pods are left changes meanwhile: named, they would void every approval of the plan.
    underway = "its pods are being replaced already; this only waits for it"
    return Change.of_text(restart.ref, "restart", underway if restart.underway else restart.reason)


def _pods_with_sidecars(context: Context) -> list[Object]:
    found = context.cluster.list("v1", "Pod", context.parameters.application.namespace)
    return _with_sidecars(found)


def _with_sidecars(found: list[Object]) -> list[Object]:
    return [pod for pod in found if pods.has_sidecar(pod) and not rollout.has_ended(pod)]


def _label_of_others(context: Context) -> str:
    """Say who else asks for sidecars in the namespace; empty if no one does."""
    found = live_object(context.cluster, labelled_namespace(context.parameters))
    key, _ = injection_label(context.parameters)
    if found is None or key not in labels_of(found):
        return ""
    who = ownership.makers(found)
    return f"the namespace carries the label {key}, which this runbook did not set ({who})"


def wait_until_nothing_is_injected(context: Context) -> None:
    """Wait until API servers have taken the label's absence up: each keeps a copy of namespaces."""

    def observe() -> wait.State:
        try:
            found = injection.check_new_pod(context, injected=False)
        except ClusterRefused as error:  # by a webhook that does not answer, and is asked still
            return wait.State(False, error.cause)
        # Where it cannot be told, the first pod that is created with a sidecar ends the restart.
        return wait.State(found.ok is not False, f"{found.subject}: {found.found}")

    wait.until(
        "new pods to get no sidecar",
        observe,
        timeout=context.parameters.timeouts.policy,
        successes=3,
        on_change=context.waiting,
    )


def _wait_until_none_is_leaving(context: Context) -> None:
    """Wait for terminating pods with sidecars: until then these need istiod's certificates.

    Not where others stay: then it is not verified, however long this waits.
    """
    namespace = context.parameters.application.namespace

    def observe(found: list[Object]) -> wait.State:
        left = _with_sidecars(found)
        leaving = [pods.describe(pod) for pod in left if pods.is_leaving(pod)]
        return wait.State(not leaving or len(leaving) < len(left), "; ".join(leaving) or "gone")

    context.cluster.watch_until(
        f"terminating pods with sidecars in {namespace} to be gone",
        "v1",
        "Pod",
        namespace,
        observe,
        timeout=patience.rollout_limit(context),
        on_change=context.waiting,
    )


def _created_with_sidecar(pod: Object) -> str:
    if not pods.has_sidecar(pod):
        return ""
    return (
        f"pod {name_of(pod)} was created with {PROXY} again: "
        "look for who else asks for it with istioctl x check-inject"
    )
