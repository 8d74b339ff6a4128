"""Pods that their owner restarts, as the operator of a database does: how, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runbook_lib.base import State, WaitTimeout
from runbook_lib.chapters.shared.preflight import workloads
from runbook_lib.cluster import PROXY, RESTARTED_AT, Object, name_of, pods, ref
from runbook_lib.lifecycle import ByHand, Context
from runbook_lib.mesh import patience

_CLOUDNATIVEPG = "postgresql.cnpg.io"
"""The API group of CloudNativePG's Cluster."""


@dataclass(frozen=True)
class Owner:
    """What keeps pods, and restarts them itself.

    Attributes:
        kind: Its kind.
        name: Its name.
        namespace: Its namespace.
        count: How many pods it has.
        lacking: Those that were created without a sidecar.
    """

    kind: str
    name: str
    namespace: str
    count: int
    lacking: tuple[Object, ...]

    @property
    def ref(self) -> str:
        """The owner, as messages name it."""
        return ref(self.kind, self.name, self.namespace)

    @property
    def how(self) -> str:
        """How its pods come to be made anew.

        CloudNativePG deletes and recreates all instances of a Cluster, the primary last, when the
        annotation that its plugin sets differs from the pods':
        https://github.com/cloudnative-pg/cloudnative-pg/blob/main/internal/controller/cluster_upgrade.go
        """
        scope = f"--namespace {self.namespace}"
        if _CLOUDNATIVEPG in {group for pod in self.lacking for group in _groups(pod)}:
            return (
                f"kubectl cnpg restart {self.name} {scope}; or, without that plugin, kubectl "
                f"annotate clusters.{_CLOUDNATIVEPG} {self.name} {scope} --overwrite "
                f"{RESTARTED_AT}=$(date +%FT%T%:z)"
            )
        names = " ".join(name_of(pod) for pod in self.lacking)
        return (
            "as its operator's guide says; most replace what is deleted, one by one: "
            f"kubectl delete pod {scope} {names}"
        )


def unfinished(context: Context) -> Iterator[Owner]:
    """Yield the owners of `application.restarted_by_owner` some of whose pods lack a sidecar."""
    namespace = context.parameters.application.namespace
    found = workloads.to_be_meshed(context.cluster.list("v1", "Pod", namespace))
    for place in context.parameters.application.owners:
        own = [pod for pod in found if pods.workload_of(pod) == place]
        if lacking := workloads.lacking(own):
            yield Owner(*place, namespace, len(own), tuple(lacking))


def note(found: Owner) -> str:
    """Say for a plan that the step will wait, and for what."""
    names = ", ".join(name_of(pod) for pod in found.lacking)
    return (
        f"Restarted by their owner, and only waited for: the pods of {found.ref} ({names}). "
        f"Have them made anew while the step waits: {found.how}"
    )


def wait(context: Context) -> None:
    """Wait until no pod of an owner lacks a sidecar, and those that have one are ready.

    Raises:
        WaitTimeout: Time is up; the error says how to have the pods made anew.
    """
    for owner in unfinished(context):

        def observe(found: list[Object], owner: Owner = owner) -> State:
            meshed = workloads.to_be_meshed(found)
            own = [pod for pod in meshed if pods.workload_of(pod) == (owner.kind, owner.name)]
            lacking = {name_of(pod) for pod in workloads.lacking(own)}
            waiting = [
                f"{name_of(pod)} has no {PROXY}" if name_of(pod) in lacking else pods.describe(pod)
                for pod in own
                if name_of(pod) in lacking or not pods.is_ready(pod)
            ]
            if not waiting and len(own) >= owner.count:  # one that was deleted comes back later
                return State(True, f"{owner.ref}: all have a sidecar")
            text = "; ".join(waiting) or f"{len(own)} of {owner.count} pods"
            return State(False, f"{text}. Have them made anew: {owner.how}" if lacking else text)

        context.journal.record(ByHand(f"have {owner.ref} restart its pods: {owner.how}"))
        try:
            context.cluster.watch_until(
                f"{owner.ref} to restart its pods",
                "v1",
                "Pod",
                owner.namespace,
                observe,
                timeout=patience.rollout_limit(context),
                on_change=context.waiting,
            )
        except WaitTimeout as error:
            error.add_note(f"→ restart them, and run this step again: {owner.how}")
            raise


def _groups(pod: Object) -> Iterator[str]:
    for each in pod["metadata"].get("ownerReferences") or []:
        yield str(each.get("apiVersion")).partition("/")[0]
