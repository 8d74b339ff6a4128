"""One run at a time changes a cluster: it holds a Lease there, and renews it while it works.

The rules are those of Kubernetes' own leader election. Whoever writes the Lease hands in the
version that was read, so of two only one succeeds; and a holder counts as gone when its Lease was
seen unchanged for as long as it says itself. Clocks of two machines are never compared. See
https://pkg.go.dev/k8s.io/client-go/tools/leaderelection.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from runbook_lib.base import ClusterRefused, RunbookError, State, chain, journal, wait
from runbook_lib.base.journal import Seal
from runbook_lib.cluster import COORDINATION, Object, annotations_of
from runbook_lib.lifecycle.operators import operator
from runbook_lib.parameters import Parameters

NAME, NAMESPACE = "istio-runbook", "kube-system"

RUN, BY, SEAL = "istio-runbook/run", "istio-runbook/by", "istio-runbook/evidence"
"""Annotations that say which run holds the Lease, who started it, and the seal of its evidence."""

HOLDER_VARIABLE = "RUNBOOK_HOLDER"
"""Identifies a run, or a session of JupyterLab, to its kernels."""

NOTEBOOKS_VARIABLE = "RUNBOOK_NOTEBOOKS"
"""Names the notebooks of a run to each of them, in order, with spaces between."""

WAIT_VARIABLE = "RUNBOOK_WAIT_LOCK"
"""Seconds for which a run waits for another one to end."""

_SERVER_VARIABLE = "JPY_PARENT_PID"
"""Of whom a kernel is a child, as Jupyter says: all notebooks of one server have the same."""

_RENEWALS = 6
"""How often a Lease is renewed before it would expire."""

_CONFLICT = 409


class LeaseHeld(RunbookError):
    """Another run changes this cluster, and this one has changed nothing since it began to."""


class Stored(Protocol):
    """What it takes of a cluster; `Cluster` is one."""

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Object | None:
        """Return one object, or None if there is none by that name."""

    def create(self, item: Object) -> Object:
        """Create an object."""

    def replace(self, item: Object) -> Object:
        """Put an object in the place of the version that it was read as."""


@dataclass(frozen=True)
class Holder:
    """A run as a Lease names it.

    Attributes:
        identity: Differs between any two runs; all kernels of one run or session have the same.
        run: The run's name, for people.
        by: Who started it, for people.
        evidence: Its journal, whose seal stands on the Lease from each renewal on; None without.
    """

    identity: str
    run: str
    by: str
    evidence: Path | None = None


class Lease:
    """The Lease of one cluster, as one process of a run sees it."""

    def __init__(
        self,
        cluster: Stored,
        holder: Holder,
        *,
        seconds: int,
        patience: float = 0,
        stays: bool = False,
        on_change: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Nothing is asked of the cluster yet.

        Args:
            cluster: Where it is.
            holder: Who wants it.
            seconds: How long it holds after it was last renewed.
            patience: Seconds to wait for a holder that is at work.
            stays: Whether it is kept between two changes, until the process ends.
            on_change: Told in words who is waited for.
            clock: Monotonic seconds.
            sleep: Pauses for so many seconds.
        """
        self._cluster, self._holder = cluster, holder
        self._seconds, self._patience, self._stays = seconds, patience, stays
        self._on_change, self._clock, self._sleep = on_change, clock, sleep
        self._had = False
        self._renewer: threading.Thread | None = None
        self._enough = threading.Event()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the Lease within the block, and renew it meanwhile.

        Raises:
            LeaseHeld: Another run holds it, or took it over from this one.
            ClusterRefused: This account may not write it, for example.
        """
        self._wait("this cluster to be free", self._try_to_hold)
        self.renew()
        try:
            yield
        finally:
            if not self._stays:
                self._enough.set()

    def wait_for_others(self) -> None:
        """Wait until no other run holds the Lease. Nothing is written.

        Raises:
            LeaseHeld: Another one does, and is at work.
        """
        self._wait("this cluster to be free", lambda _lease: True)

    def renew(self) -> None:
        """Renew the Lease from now on while it is this run's; at once, and in the background."""
        if self._renewer is not None and self._renewer.is_alive() and not self._enough.is_set():
            return
        self._enough = enough = threading.Event()

        def renew() -> None:
            while not enough.wait(self._seconds / _RENEWALS):
                try:
                    self._renew_own()
                except RunbookError:
                    continue  # it may answer again in time; the next change looks in any case

        self._renewer = threading.Thread(target=renew, name="renew-lease", daemon=True)
        self._renewer.start()

    def release(self) -> None:
        """Let go of the Lease, if it is this run's."""
        self._enough.set()
        lease = self._read()
        if lease is not None and _spec(lease).get("holderIdentity") == self._holder.identity:
            # As client-go does: a second, so that nobody waits for who is gone.
            self._write(lease, holderIdentity="", leaseDurationSeconds=1)

    def _wait(self, what: str, take: Callable[[Object | None], bool]) -> None:
        seen: dict[str, Any] | None = None
        since = started = self._clock()
        alive = False

        def look() -> State:
            nonlocal seen, since, alive
            lease = self._read()
            spec = _spec(lease) if lease else {}
            holder = spec.get("holderIdentity")
            own = holder == self._holder.identity
            if self._had and not own:
                self._had = False
                raise LeaseHeld(
                    f"this run lost the cluster to another while it stood still: {_text(lease)}",
                    "nothing more was changed; look at what the other run did, and run again",
                )
            if holder and not own:
                if spec != seen:
                    alive, seen, since = seen is not None, spec, self._clock()
                if alive and self._clock() - started >= self._patience:
                    raise LeaseHeld(
                        f"another run is changing this cluster: {_text(lease)}",
                        "wait for it to end, such as with --wait-lock 10m; it may be planned and "
                        "diagnosed meanwhile",
                    )
                if self._clock() - since < (spec.get("leaseDurationSeconds") or 0):
                    return State(False, _text(lease))
            free = take(lease)
            # Between reading and writing its own may have been renewed as well.
            return State(free, "" if free or own else "another run was quicker")

        wait.until(
            what,
            look,
            timeout=float("inf"),
            interval=min(1.0, self._seconds / _RENEWALS),
            on_change=self._tell,
            clock=self._clock,
            sleep=self._sleep,
        )

    def _tell(self, text: str) -> None:
        if text and self._on_change is not None:
            self._on_change(text)

    def _try_to_hold(self, lease: Object | None) -> bool:
        """Take or renew the Lease as it was just read; return False if others were quicker."""
        spec = _spec(lease) if lease else {}
        own = spec.get("holderIdentity") == self._holder.identity
        changes = int(spec.get("leaseTransitions") or 0)
        taken: dict[str, Any] = {}
        if not own:
            taken = {"acquireTime": _now(), "leaseTransitions": changes + (lease is not None)}
        written = self._write(
            lease,
            holderIdentity=self._holder.identity,
            leaseDurationSeconds=self._seconds,
            **taken,
        )
        self._had = self._had or written
        return written

    def _renew_own(self) -> None:
        lease = self._read()
        if lease is not None and _spec(lease).get("holderIdentity") == self._holder.identity:
            self._write(lease)

    def _read(self) -> Object | None:
        return self._cluster.get(COORDINATION, "Lease", NAME, NAMESPACE)

    def _write(self, lease: Object | None, **spec: Any) -> bool:
        """Write what was read with some changes; return False if others have written meanwhile."""
        told = {RUN: self._holder.run, BY: self._holder.by}
        if self._holder.evidence is not None:
            told[SEAL] = str(journal.seal_of(self._holder.evidence))
        named: Object = {"name": NAME, "namespace": NAMESPACE}
        metadata: Object = lease["metadata"] if lease else named
        item: Object = {
            "apiVersion": COORDINATION,
            "kind": "Lease",
            "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **told}},
            "spec": {**(_spec(lease) if lease else {}), **spec, "renewTime": _now()},
        }
        try:
            self._cluster.replace(item) if lease else self._cluster.create(item)
        except ClusterRefused as error:
            if error.status != _CONFLICT:
                raise
            return False
        return True


def identity(environ: Mapping[str, str] = os.environ) -> str:
    """Return what tells this run, or this session, from all others."""
    server = environ.get(_SERVER_VARIABLE) or os.getpid()
    return environ.get(HOLDER_VARIABLE) or f"{socket.gethostname()}-{server}"


def of_run(
    cluster: Stored,
    parameters: Parameters,
    evidence: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    on_change: Callable[[str], None] | None = None,
) -> Lease:
    """Return the Lease for a run, as this process sees it.

    The kernels of a headless run keep it until they end. Where a person steps through, others have
    their turn between two steps.

    Args:
        cluster: Where it is.
        parameters: The run's.
        evidence: The run's journal; its folder has the run's name.
        environ: Where a run, or a session, says who it is.
        on_change: Told in words who is waited for.
    """
    return Lease(
        cluster,
        Holder(identity(environ), evidence.parent.name, operator(), evidence),
        seconds=parameters.lease_seconds,
        patience=float(environ.get(WAIT_VARIABLE) or 0),
        stays=bool(environ.get(NOTEBOOKS_VARIABLE)),
        on_change=on_change,
    )


def noted(cluster: Stored, run: str) -> Seal | None:
    """Return the seal of a run's evidence that the cluster keeps; None if it is of another run.

    Raises:
        ParameterError: Something else is written there.
    """
    told = annotations_of(cluster.get(COORDINATION, "Lease", NAME, NAMESPACE) or {"metadata": {}})
    return chain.parse(told[SEAL]) if told.get(RUN) == run and SEAL in told else None


def held_by(cluster: Stored) -> str:
    """Say which run holds the Lease, or held it when its process vanished; empty if none does."""
    lease = cluster.get(COORDINATION, "Lease", NAME, NAMESPACE)
    return _text(lease) if lease and _spec(lease).get("holderIdentity") else ""


def _spec(lease: Object) -> dict[str, Any]:
    return lease.get("spec") or {}


def _text(lease: Object | None) -> str:
    """Say who holds a Lease, since when, and which run."""
    spec = _spec(lease) if lease else {}
    if lease is None or not spec.get("holderIdentity"):
        return "it has ended since"
    told = annotations_of(lease)
    since = str(spec.get("acquireTime", "")).partition(".")[0].replace("T", " ")
    return f"run {told.get(RUN, '?')} of {told.get(BY, '?')}, since {since} UTC"


def _now() -> str:
    """The time as a Lease has it: https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#MicroTime."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
