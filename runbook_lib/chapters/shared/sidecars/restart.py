"""Replace pods that have no sidecar, or another than a new pod would get."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from runbook_lib.base import State
from runbook_lib.chapters.shared import observe, preflight
from runbook_lib.chapters.shared.preflight import traffic, workloads
from runbook_lib.chapters.shared.sidecars import owners
from runbook_lib.cluster import (
    INJECT,
    PROXY,
    WORKLOADS,
    Object,
    name_of,
    place_of,
    pods,
    ref,
)
from runbook_lib.lifecycle import (
    Change,
    Check,
    Content,
    Context,
    Exports,
    Finding,
    Plan,
    Step,
    Unknown,
    Verification,
    require,
    table,
)
from runbook_lib.mesh import (
    injection,
    of_replacement,
    patience,
    rollout,
)
from runbook_lib.parameters import ApplicationParameters

_LACK = f"has no {PROXY}"


@dataclass(frozen=True)
class _Restart:
    """A workload whose pods lack sidecars, or have others than new pods would get.

    Attributes:
        workload: As it is.
        reasons: The pods that stay so unless it is restarted, each with what is wrong with it.
        underway: Whether they are being replaced already.
        kinds: The same reasons, whichever pods they are: those have generated names.
    """

    workload: Object
    reasons: tuple[str, ...]
    underway: bool
    kinds: tuple[str, ...]

    @property
    def change(self) -> Change:
        """The restart, as it is approved."""
        content = Content(None, self.kinds)
        return Change.of_text(self.ref, "restart", self.reason, content, (Unknown.NAMES,))

    @property
    def ref(self) -> str:
        return ref(*place_of(self.workload))

    @property
    def reason(self) -> str:
        """Why to restart it."""
        return "\n".join(self.reasons)


class RestartWorkloads(Step):
    """Replace pods that were created before the label."""

    name = "injection-restart"
    title = "Restart the workloads whose pods have no sidecar"
    why = "a sidecar is added only when a pod is created"
    takes = "as long as each workload needs to start, one after the other"
    risk = "each workload is away while its pods are replaced, unless it has several"
    undo = "remove the namespace's label and restart again"
    reason = "istio-runbook: the pods have no sidecar"
    """What the annotation of the pods says."""

    def obstacles(self, context: Context) -> Iterator[Finding]:
        """Find what would keep pods from being replaced, or from running with a sidecar."""
        yield from preflight.namespace(context, context.parameters.application.namespace)
        yield from preflight.webhooks(context)
        yield from _missing(context)
        yield from workloads.before_restart(context)
        yield from _unlisted(context)
        yield from traffic.istiod_out_of_reach(context)
        yield from traffic.not_spoken(context)

    def newest_image(self, context: Context, workload: Object) -> str:
        """Return the image of a new pod's sidecar; empty if it is not known."""
        return injection.sidecar_image_for(context, workload)

    def plan(self, context: Context) -> Plan:
        """Plan to restart what lacks its sidecar, and say who notices."""
        require(self.obstacles(context))
        restarts = self._restarts(context)
        changes = [restart.change for restart in restarts if not restart.underway]
        # Not among the changes: an approval holds however far it has come meanwhile.
        underway = ", ".join(restart.ref for restart in restarts if restart.underway)
        notes = []
        if underway:
            notes.append(f"Being replaced already, and only waited for: the pods of {underway}.")
        notes += map(owners.note, owners.unfinished(context))
        if changes and (image := self.newest_image(context, restarts[0].workload)):
            notes.append(f"Nodes pull {image} for the sidecars.")
        interruptions = [
            each
            for restart in restarts
            if not restart.underway
            for each in of_replacement(context, restart.workload)
        ]
        if changes:
            interruptions += workloads.strict_already(context)
        return Plan(
            self.name,
            context.target.uid,
            tuple(changes),
            note=" ".join(notes),
            interruptions=tuple(interruptions),
        )

    def apply(self, context: Context, plan: Plan) -> None:
        """Restart one workload after the other, in the order of the parameters."""
        planned = {change.ref for change in plan.changes}
        owners.wait(context)
        for restart in self._restarts(context):
            if not restart.underway:
                if restart.ref not in planned:
                    continue
                where = place_of(restart.workload)
                context.cluster.restart(*where, self.reason)
            _wait_for_rollout(context, restart.workload)

    def verify(self, context: Context) -> Verification:
        """Prove that each pod has a ready sidecar, and that the site answers as it should.

        Raises:
            WaitTimeout: Pods or sidecars are not ready in time.
            VerificationFailed: The site does not answer as it should.
        """
        namespace = context.parameters.application.namespace
        owners.wait(context)
        for restart in self._restarts(context):
            if restart.underway:
                _wait_for_rollout(context, restart.workload)
        _wait_for_sidecars(context)
        found = workloads.to_be_meshed(context.cluster.list("v1", "Pod", namespace))
        staying = [p for p in found if not pods.is_leaving(p) and not pods.is_of_job(p)]
        ready = list(filter(pods.has_ready_sidecar, staying))
        counted = f"{len(ready)} of {len(staying)}"
        check = Check("pods with a ready sidecar", counted, bool(staying) and ready == staying)
        lacking = workloads.lacking(found)
        leaving = [name_of(pod) for pod in lacking if pods.is_leaving(pod)]
        notes = [] if staying else [f"There are no pods in {namespace}."]
        if leaving:
            notes.append(f"Terminating, and without a sidecar until then: {', '.join(leaving)}.")
        jobs = [name_of(pod) for pod in lacking if pods.is_of_job(pod)]
        if jobs:
            notes.append(f"Of Jobs, without a sidecar until they end: {', '.join(jobs)}.")
        tables = (
            observe.pod_table(context, namespace),
            table.of_checks("Sidecars", [check]),
            observe.prove_traffic(context, replaced=True),
        )
        return Verification(self.name, tables, " ".join(notes))

    def exports(self, context: Context) -> Exports:
        """Return what people do in its place: no file can state a restart."""
        order = context.parameters.application.restart_order
        namespace = context.parameters.application.namespace
        commands = ", then ".join(
            f"`kubectl --namespace {namespace} rollout restart {each.lower()}`" for each in order
        )
        return Exports(
            by_hand="Once the namespace carries its label, restart the workloads whose pods have "
            f"no sidecar, waiting for each: {commands}."
        )

    def _restarts(self, context: Context) -> list[_Restart]:
        """Return the workloads whose pods lack today's sidecar, in the parameters' order."""
        restarts = []
        for each in workloads.listed(context):
            older = workloads.outdated(each, partial(self.newest_image, context))
            staying = [*each.lacking, *(pod for pod in each.pods if name_of(pod) in older)]
            without = workloads.lacking(each.pods)
            underway = bool(without or older) and rollout.replaces(each.workload, staying)
            if staying or underway:
                reasons = [f"{name_of(pod)}: {_LACK}" for pod in each.lacking]
                reasons += [f"{name}: its {PROXY} is {images}" for name, images in older.items()]
                kinds = {_LACK} if each.lacking else set()
                kinds |= {f"its {PROXY} is {images}" for images in older.values()}
                found = tuple(sorted(reasons)), underway, tuple(sorted(kinds))
                restarts.append(_Restart(each.workload, *found))
        return restarts


def _missing(context: Context) -> Iterator[Finding]:
    """Find workloads of `application.restart_order` that do not exist."""
    for where, workload in workloads.named(context).items():
        if workload is None:
            yield Finding(
                where,
                "there is none",
                "its pods cannot be given sidecars",
                "correct application.restart_order",
            )


def _unlisted(context: Context) -> Iterator[Finding]:
    """Find pods that lack a sidecar, and that restarting the listed workloads does not replace."""
    application = context.parameters.application
    found: dict[tuple[str, str], list[str]] = {}
    for pod in workloads.lacking(context.cluster.list("v1", "Pod", application.namespace)):
        keeper = pods.workload_of(pod)
        if keeper in (*application.workloads, *application.owners) or pods.is_leaving(pod):
            continue
        if pods.is_of_job(pod):
            yield workloads.ending(context, pod, *keeper)
        else:
            found.setdefault(keeper, []).append(name_of(pod))
    for (kind, name), names in found.items():
        opt_out = f"mark its pod template with the label {INJECT}: 'false', if that is meant"
        anew = (
            f"have {kind} {name} made anew once the namespace is labelled; or give it the label "
            f"{INJECT}: 'false', if it is to stay outside"
        )
        yield Finding(
            ref(kind, name, application.namespace),
            f"{_which_lack(kind, names)}, and it belongs to no workload in "
            "application.restart_order",
            "they would stay outside of the mesh",
            opt_out if kind in WORKLOADS else anew,
            parameter=_parameter(application, kind, name),
        )


def _parameter(application: ApplicationParameters, kind: str, name: str) -> str:
    """Return the parameter that would name what keeps pods; nothing keeps those of kind Pod."""
    key = "restart_order" if kind in WORKLOADS else "restarted_by_owner"
    named = ", ".join([*getattr(application, key), f"{kind}/{name}"])
    return f"application.{key}: [{named}]" if kind != "Pod" else ""


def _which_lack(kind: str, names: Sequence[str]) -> str:
    return f"it {_LACK}" if kind == "Pod" else f"its pods have no {PROXY} ({', '.join(names)})"


def _wait_for_rollout(context: Context, workload: Object) -> None:
    rollout.wait_until_complete(
        context,
        *place_of(workload),
        refuse=_created_without_sidecar,
    )


def _wait_for_sidecars(context: Context) -> None:
    """Wait until the sidecars that are there are ready: a restart would only begin anew."""
    namespace = context.parameters.application.namespace

    def observe(found: list[Object]) -> State:
        starting = [
            pods.describe(pod)
            for pod in workloads.to_be_meshed(found)
            if pods.has_sidecar(pod)
            and not pods.has_ready_sidecar(pod)
            and not pods.is_leaving(pod)
        ]
        return State(not starting, "; ".join(starting) or "all ready")

    context.cluster.watch_until(
        f"the sidecars in {namespace} to be ready",
        "v1",
        "Pod",
        namespace,
        observe,
        timeout=patience.rollout_limit(context, *workloads.named(context).values()),
        on_change=context.waiting,
    )


def _created_without_sidecar(pod: Object) -> str:
    if not injection.wants_sidecar(pod) or pods.has_sidecar(pod):
        return ""
    return (
        f"pod {name_of(pod)} was created without istio-proxy: "
        "check the namespace's label and the webhook with istioctl x check-inject"
    )
