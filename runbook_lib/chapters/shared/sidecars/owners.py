"""Pods that their owner restarts, as the operator of a database does: how, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

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
        older: Those that are to be made anew, for a sidecar or to lose theirs.
        sidecars: Whether its pods are to have sidecars.
    """

    kind: str
    name: str
    namespace: str
    count: int
    older: tuple[Object, ...]
    sidecars: bool = True

    @property
    def ref(self) -> str:
        """The owner, as messages name it."""
        return ref(self.kind, self.name, self.namespace)

    @property
    def place(self) -> tuple[str, str]:
        """Its kind and name."""
        return self.kind, self.name

    @property
    def how(self) -> str:
        """How its pods come to be made anew.

        CloudNativePG deletes and recreates all instances of a Cluster, the primary last, when the
        annotation that its plugin sets differs from the pods':
        https://github.com/cloudnative-pg/cloudnative-pg/blob/main/internal/controller/cluster_upgrade.go
        """
        scope = f"--namespace {self.namespace}"
        if _CLOUDNATIVEPG in {group for pod in self.older for group in _groups(pod)}:
            return (
                f"kubectl cnpg restart {self.name} {scope}; or, without that plugin, kubectl "
                f"annotate clusters.{_CLOUDNATIVEPG} {self.name} {scope} --overwrite "
                f"{RESTARTED_AT}=$(date +%FT%T%:z)"
            )
        names = " ".join(name_of(pod) for pod in self.older)
        return (
            "as its operator's guide says; most replace what is deleted, one by one: "
            f"kubectl delete pod {scope} {names}"
        )


def unfinished(context: Context, *, sidecars: bool = True) -> Iterator[Owner]:
    """Yield the owners of `application.restarted_by_owner` some of whose pods are to be made anew.

    Args:
        context: Where to look.
        sidecars: Whether pods are to have sidecars.
    """
    namespace = context.parameters.application.namespace
    found = context.cluster.list("v1", "Pod", namespace)
    for place in context.parameters.application.owners:
        own = _pods(place, found)
        if older := _older(own, sidecars=sidecars):
            yield Owner(*place, namespace, len(own), tuple(older), sidecars)


def note(found: Owner) -> str:
    """Say for a plan that the step will wait, and for what."""
    names = ", ".join(name_of(pod) for pod in found.older)
    return (
        f"Restarted by their owner, and only waited for: the pods of {found.ref} ({names}). "
        f"Have them made anew while the step waits: {found.how}"
    )


def wait(context: Context, *, sidecars: bool = True) -> None:
    """Wait until the pods of all owners have been made anew, and are ready.

    Args:
        context: Where to look.
        sidecars: Whether pods are to have sidecars.

    Raises:
        WaitTimeout: Time is up; the error says how to have the pods made anew.
    """
    for owner in unfinished(context, sidecars=sidecars):
        context.journal.record(ByHand(f"have {owner.ref} restart its pods: {owner.how}"))
        try:
            context.cluster.watch_until(
                f"{owner.ref} to restart its pods",
                "v1",
                "Pod",
                owner.namespace,
                partial(_observe, owner),
                timeout=patience.rollout_limit(context),
                on_change=context.waiting,
            )
        except WaitTimeout as error:
            error.add_note(f"→ restart them, and run this step again: {owner.how}")
            raise


def _observe(owner: Owner, found: list[Object]) -> State:
    own = _pods(owner.place, found)
    older = {name_of(pod) for pod in _older(own, sidecars=owner.sidecars)}
    state = "has no" if owner.sidecars else "has still an"
    waiting = [
        f"{name_of(pod)} {state} {PROXY}" if name_of(pod) in older else pods.describe(pod)
        for pod in own
        if name_of(pod) in older or not pods.is_ready(pod)
    ]
    if not waiting and len(own) >= owner.count:  # one that was deleted comes back later
        return State(True, f"{owner.ref}: all are made anew")
    text = "; ".join(waiting) or f"{len(own)} of {owner.count} pods"
    return State(False, f"{text}. Have them made anew: {owner.how}" if older else text)


def _pods(place: tuple[str, str], found: list[Object]) -> list[Object]:
    return [pod for pod in workloads.to_be_meshed(found) if pods.workload_of(pod) == place]


def _older(own: list[Object], *, sidecars: bool) -> list[Object]:
    return [pod for pod in own if pods.has_sidecar(pod) is not sidecars]


def _groups(pod: Object) -> Iterator[str]:
    for each in pod["metadata"].get("ownerReferences") or []:
        yield str(each.get("apiVersion")).partition("/")[0]
