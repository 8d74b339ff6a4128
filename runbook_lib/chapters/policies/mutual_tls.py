"""Mutual TLS for the whole mesh, except on the ports where callers without a sidecar come in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from runbook_lib.chapters.policies import manifest, pod_to_pod, stale
from runbook_lib.chapters.policies.services import service_ports
from runbook_lib.chapters.shared import (
    RevertibleStep,
    front,
    objects,
    observe,
    outsiders,
    preflight,
)
from runbook_lib.chapters.shared.preflight import aws, workloads
from runbook_lib.chapters.shared.preflight.traffic import (
    Closing,
    dependencies_past_sidecars,
    metrics_ports,
    past_sidecars,
)
from runbook_lib.cluster import Object, live_object, reference
from runbook_lib.lifecycle import (
    Context,
    Finding,
    Interruption,
    Loss,
    Plan,
    Refused,
    Step,
    Table,
    Verification,
    require,
    table,
)
from runbook_lib.mesh import outside, selection_mistakes, sidecars, web
from runbook_lib.mesh.policy import DISABLE, sent_to_port
from runbook_lib.parameters import Parameters


class _PeerAuthenticationStep(RevertibleStep):
    """Apply one PeerAuthentication and prove the traffic that results."""

    @abstractmethod
    def manifest(self, context: Context) -> Object:
        """The PeerAuthentication."""

    def manifests(self, context: Context) -> list[Object]:
        return [self.manifest(context)]

    def obstacles(self, context: Context) -> Iterator[Finding]:
        yield from selection_mistakes(context)
        yield from outsiders.cut_off(context)
        with suppress(Refused):  # of labels that are not known, which has been said
            closing = Closing.by(context, [self.manifest(context)])
            yield from metrics_ports(context, closing)
            yield from dependencies_past_sidecars(context, closing)
        yield from stale.sidecars(context)
        yield from past_sidecars(context)
        yield from aws.before_mutual_tls(context)
        yield from preflight.hidden(context)
        yield from preflight.policy_kept(context, lambda: self.manifest(context))

    def plan(self, context: Context) -> Plan:
        found = tuple(self.obstacles(context))
        require(found)
        note = outsiders.note_on_ports(
            context,
            "callers without a sidecar are refused, unless it is in application.plaintext_ports",
        )
        plan = objects.plan_objects(context, self.name, self.manifests(context), note, own=True)
        if not plan.empty:
            notes = (plan.note, *(each.text for each in front.in_front(context)))
            plan = replace(plan, note=" ".join(filter(None, notes)))
        return aws.with_unread(plan, found)

    def apply(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, self.manifests(context))

    def verify(self, context: Context) -> Verification:
        policy = table.of_checks("Policy", [objects.check(context, self.manifest(context))])
        return Verification(self.name, (policy, *self.effects(context)))

    def effects(self, context: Context) -> Iterator[Table]:
        yield observe.peer_authentication_table(context)
        yield sidecars.prove_modes(context)
        yield from super().effects(context)


class _StrictMutualTls(_PeerAuthenticationStep):
    """Refuse plaintext everywhere in the mesh."""

    name = "mutual-tls-strict"
    title = "Require mutual TLS in the whole mesh"
    why = "workloads prove who they are to each other, and no one between them can listen"
    takes = "seconds"
    undo = "set its mode to PERMISSIVE, look at the traffic, then delete it"

    def __init__(self, *, exception_first: bool) -> None:
        self.interim = not exception_first
        self.risk = (
            "callers inside the cluster without a sidecar get no answer any more"
            if exception_first
            else "what stands in front speaks plaintext: users see 502, or another error, until "
            "the exception is applied"
        )

    def manifest(self, context: Context) -> Object:
        return manifest.strict_mutual_tls(context.parameters)

    def obstacles(self, context: Context) -> Iterator[Finding]:
        yield from super().obstacles(context)
        yield from workloads.before_strict(context)
        yield from preflight.not_mesh_wide(context)

    def plan(self, context: Context) -> Plan:
        plan = super().plan(context)
        if plan.empty:
            return plan
        # Part of what is approved: whose plaintext is refused is for a person to judge.
        unpredictable = (*plan.unpredictable, *_other_callers(context), *_left_open(context))
        lost = (_until_exception(context),) if self.interim else ()
        return replace(plan, unpredictable=unpredictable, interruptions=lost)


class _MutualTlsException(_PeerAuthenticationStep):
    """Let plaintext in on the web container's port, and on others that the parameters name."""

    name = "mutual-tls-exception"
    title = "Except the web container's port from mutual TLS"
    why = "the load balancer is outside the mesh and speaks plaintext to this port"
    takes = "seconds"
    risk = "whoever reaches the pod's IP can use this port without an identity"
    undo = "delete it, once nothing outside the mesh needs the port"

    def manifest(self, context: Context) -> Object:
        parameters = context.parameters
        return manifest.mutual_tls_exception(parameters, web.labels(context.cluster, parameters))

    def plan(self, context: Context) -> Plan:
        plan = super().plan(context)
        if plan.empty:
            return plan
        return replace(plan, unpredictable=(*plan.unpredictable, *_calls_that_fail(context)))


def _calls_that_fail(context: Context) -> Iterator[str]:
    """Say for how long calls in the mesh fail where they were told to use mutual TLS before."""
    parameters = context.parameters
    rule = live_object(context.cluster, manifest.destination_rule(parameters, ()))
    if rule is None or parameters.mutual_tls.exception_mode != DISABLE:
        return
    sent = [sent_to_port(rule, port) for port in service_ports(context)]
    if any(each.mode == "ISTIO_MUTUAL" for each in sent):
        yield (
            f"when calls inside the mesh to {parameters.application.web.service} work again: "
            f"{reference(rule)} has them use mutual TLS, which the port will do without, so they "
            "get 503 until notebook 05_authorization changes it"
        )


def _until_exception(context: Context) -> Interruption:
    """Announce what STRICT does to the site where the exception comes after it."""
    return Interruption(
        outside(context),
        Loss.EVERYTHING,
        f"no answer: they get {front.closed(context)}",
        "what stands in front speaks plaintext, which every port refuses",
        None,
        "until mutual-tls-exception is applied",
    )


def _other_callers(context: Context) -> Iterator[str]:
    """Say whom STRICT may cut off that no exception of this runbook lets in."""
    if doors := outsiders.doors_of_others(context):
        yield (
            f"who comes in through {', '.join(doors)}: behind it are pods with sidecars that have "
            "no exception, so every caller without a sidecar is refused there"
        )
    if own := workloads.without_sidecars(context):
        yield (
            f"what {', '.join(own)} ask pods of the mesh for: their pods have no sidecar, speak "
            "plaintext, and are refused"
        )
    if others := outsiders.namespaces_of_others(context):
        yield (
            f"who calls pods with sidecars in {', '.join(others)}: this policy holds for the whole "
            "mesh, so every caller without a sidecar is refused there, too, and so is a load "
            "balancer that speaks plaintext. Ask their owners; a PeerAuthentication of their "
            "own decides in its place"
        )


def _left_open(context: Context) -> Iterator[str]:
    """Say which ports take plaintext all the same."""
    labels = web.labels(context.cluster, context.parameters)
    planned = manifest.mutual_tls(context.parameters, labels)
    if ports := outsiders.open_past_sidecars(context, planned):
        yield (
            f"who uses plaintext on ports that are not captured: {'; '.join(ports)}. No policy "
            "holds there: take the port off the annotation and restart the pods, or accept it"
        )


def steps(parameters: Parameters) -> tuple[Step, ...]:
    """The chapter in the order of the story: only the safe one never interrupts the site."""
    if parameters.story == "safe":
        first, second = _MutualTlsException(), _StrictMutualTls(exception_first=True)
        return first, second, pod_to_pod.about_mutual_tls()
    return (
        _StrictMutualTls(exception_first=False),
        _MutualTlsException(),
        pod_to_pod.about_mutual_tls(),
    )
