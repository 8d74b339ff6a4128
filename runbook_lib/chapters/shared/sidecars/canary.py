"""One pod with a sidecar that serves no one, before a pod is deleted that does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from runbook_lib.base import RunbookError, VerificationFailed
from runbook_lib.chapters.shared.preflight import workloads
from runbook_lib.cluster import PROXY, Object, pods
from runbook_lib.lifecycle import Check, Context, Finding, Plan, Step, Verification, table
from runbook_lib.mesh import injection, patience
from runbook_lib.mesh.callers import Asker, foreseen, job, made, planned

_INIT = "istio-init"
_WAY_ON = "mend that; or go without this proof: application.canary: false"


class TryOnePod(Step):
    """Make a pod from the sidecar's own image, with a sidecar, and remove it once it is ready.

    A dry run proves that a pod would be accepted. Only a pod proves that a node has room for it,
    can pull the image and lets istio-init have its rights, and that istiod's port 15012 is open.
    """

    name = "injection-canary"
    title = "Try one pod with a sidecar that serves no one"
    why = (
        "a node has to have room for a sidecar, its image and its rights, and istiod has to answer"
    )
    takes = "as long as the sidecar's image needs to be pulled"
    risk = "none: nothing leads to this pod"
    undo = "nothing to undo: the pod is removed as soon as it has been ready"

    def __init__(self) -> None:
        self._seen: Object | None = None

    def obstacles(self, context: Context) -> Iterable[Finding]:
        """Find what is in the way; that there is no istiod yet is for an earlier step."""
        return super().obstacles(context) if injection.injector(context) is not None else ()

    def plan(self, context: Context) -> Plan:
        """Plan the pod, unless it is left out or there is nothing left to be restarted."""
        uid = context.target.uid
        if not context.parameters.tries_canary:
            left_out = context.parameters.application.canary is False
            return Plan(self.name, uid, note=_LEFT_OUT if left_out else _NO_USERS)
        like = next(_to_restart(context), None)
        if like is None:
            return Plan(self.name, uid, note=_NOTHING)
        caller = _caller(context)
        if context.parameters.mode == "plan" and injection.injector(context) is None:
            return Plan(self.name, uid, (foreseen(caller),), note=_REMOVED)
        change = planned(context, _job(context, like.workload), _WAY_ON)
        return Plan(self.name, uid, (change,), note=_REMOVED)

    def apply(self, context: Context, plan: Plan) -> None:
        """Make the pod, wait until it is ready, and remove it."""
        if plan.empty:
            return
        like = next(_to_restart(context))
        jobs = {_caller(context): _job(context, like.workload)}
        try:
            with made(context, jobs, timeout=patience.LEAST) as found:
                (self._seen,) = found.values()
        except RunbookError as error:
            raise RunbookError(error.cause, error.remedy or _WAY_ON) from error

    def verify(self, context: Context) -> Verification:
        """Return what was seen of the pod; none is made anew.

        Raises:
            VerificationFailed: There is still something to restart, and no pod was tried.
        """
        if self._seen is None:
            plan = self.plan(context)
            if not plan.empty and context.parameters.mode == "apply":
                raise VerificationFailed("no pod has been tried", "run the apply cell again")
            return Verification(self.name, note=plan.note)
        status = self._seen["status"]
        done = [c["name"] for c in status.get("initContainerStatuses") or [] if c["ready"]]
        sidecar = pods.has_ready_sidecar(self._seen)
        checks = [
            Check("a node had room", "scheduled", bool(self._seen["spec"].get("nodeName"))),
            Check(_INIT, "had its rights", ok=True)
            if _INIT in done
            else Check(_INIT, "not there: Istio's CNI plugin does its work", ok=None),
            Check(f"{PROXY} ready, by istiod", "yes" if sidecar else "no", sidecar),
        ]
        return Verification(self.name, (table.of_checks("A pod with a sidecar", checks),))


_LEFT_OUT = "Not tried: application.canary is false."
_NO_USERS = "Not tried: the target is not production. application.canary: true asks for it."
_NOTHING = "Nothing to try: no pod is to be replaced."
_REMOVED = "The pod is removed as soon as it has been ready."


def _to_restart(context: Context) -> Iterator[workloads.Listed]:
    """Yield the workloads whose pods are to be replaced for a sidecar, or for a newer one."""
    newest = partial(injection.sidecar_image_for, context)
    for each in workloads.listed(context):
        if each.lacking or workloads.outdated(each, newest):
            yield each


def _caller(context: Context) -> Asker:
    return Asker(context.parameters.application.namespace)


def _job(context: Context, workload: Object) -> Object:
    """Return the Job of the pod, whose image is that of the sidecar that it would get."""
    return job(
        _caller(context),
        (),
        injection.attempt(context, workload, sidecar=True),
        seconds=2 * patience.LEAST,
        revision=context.parameters.istio.revision,
    )
