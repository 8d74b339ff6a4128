"""Have the decisions of a dry run logged for some time, and read them from every web pod's log."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from runbook_lib.base import (
    ClusterRefused,
    ClusterUnreachable,
    State,
    VerificationFailed,
    WaitTimeout,
    wait,
)
from runbook_lib.cluster import PROXY, Cluster, Object, has_sidecar, name_of, pods
from runbook_lib.lifecycle import Context
from runbook_lib.mesh.dry_run.manifest import LOG, logged
from runbook_lib.mesh.dry_run.model import Decided, Decision, PodRead, Reading
from runbook_lib.mesh.sidecars import listeners_of
from runbook_lib.mesh.web import web_pods
from runbook_lib.parameters import Parameters
from runbook_lib.site import OWN_HEADER, Expectation, Probe, probe

_INTERVAL = 5.0
"""Seconds between looks at the logs; a kubelet mostly begins each anew at 10 MiB."""

_MOST_SHOWN = 5


def read(context: Context, manifest: Object, seconds: int) -> Reading:
    """Have the decisions logged for some time, and count them.

    Args:
        context: Where.
        manifest: The access log; it is removed at the end, whatever happens.
        seconds: For how long.

    Raises:
        WaitTimeout: A sidecar does not take the access log up, or keeps it.
        VerificationFailed: The runbook's own request is not found in any log.
        ClusterRefused: The logs may not be read.
    """
    logs = _Logs(context)
    with _applied(context, manifest):
        _until_every_sidecar(context, logs=True)
        _until_own_request(context, logs)
        _watch(context, logs, seconds)
    _until_every_sidecar(context, logs=False)
    logs.read()  # what sidecars had not written yet
    return logs.reading(seconds)


@contextmanager
def _applied(context: Context, manifest: Object) -> Iterator[None]:
    context.cluster.apply(manifest)
    try:
        yield
    finally:
        metadata = manifest["metadata"]
        context.cluster.delete(
            manifest["apiVersion"], manifest["kind"], metadata["name"], metadata["namespace"]
        )


def _until_every_sidecar(context: Context, *, logs: bool) -> None:
    """Wait until every web pod's sidecar has the access log, or has it no more."""

    def observe() -> State:
        staying = (pod for pod in _meshed(context) if not pods.is_leaving(pod))
        late = [
            name_of(pod)
            for pod, listeners in listeners_of(context, staying)
            if isinstance(listeners, str) or (LOG in json.dumps(listeners)) is not logs
        ]
        return State(not late, f"not yet: {', '.join(late)}" if late else "all of them do")

    wait.until(
        f"the web pods' sidecars to {'begin' if logs else 'end'} logging the dry run",
        observe,
        timeout=context.parameters.timeouts.policy,
        on_change=context.waiting,
    )


def _until_own_request(context: Context, logs: _Logs) -> None:
    """Ask until the runbook's own request is found: only then do the logs say what they seem to."""
    parameters, url = context.parameters, context.target.url
    given = parameters.application.probes[0]
    asked = Probe(given.method, given.path, Expectation(given.status))

    def observe() -> State:
        limit = parameters.timeouts.probe
        answer = probe.send(url, asked, timeout=limit, verify=context.verify_tls)
        logs.read()
        return State(logs.own > 0, f"{asked.method} {asked.path} is answered {answer.text}")

    try:
        wait.until(
            "the runbook's own request in the log of a web pod's sidecar",
            observe,
            timeout=parameters.timeouts.policy,
            interval=0.5,
            on_change=context.waiting,
        )
    except WaitTimeout as error:
        raise VerificationFailed(
            error.cause,
            f"see whether something in front answers {url}{asked.path} itself, or takes the header "
            f"{OWN_HEADER} off; choose another first one of application.probes",
        ) from error


def _watch(context: Context, logs: _Logs, seconds: int) -> None:
    started = time.monotonic()

    def observe() -> State:
        try:
            logs.read()
        except ClusterUnreachable as error:  # what is logged meanwhile is read later
            return State(False, error.cause)
        found = logs.refused
        said = ", ".join(each.text for each in found[:_MOST_SHOWN])
        more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
        over = time.monotonic() - started >= seconds
        return State(over, f"it would refuse {said}{more}" if found else "it would refuse nothing")

    wait.until(
        f"{seconds} s of requests that the dry run decides about",
        observe,
        timeout=seconds + context.parameters.timeouts.policy,
        interval=min(_INTERVAL, seconds / 4),
        on_change=context.waiting,
    )


class _Logs:
    """The logs of the web pods' sidecars, from now on; pods that come later from their begin."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._logs = {
            _uid(pod): _Log(context.cluster, pod, from_now=True) for pod in _meshed(context)
        }

    @property
    def own(self) -> int:
        """How many requests of the runbook's own were found."""
        return sum(log.own for log in self._logs.values())

    @property
    def refused(self) -> list[Decided]:
        """What would be refused, in the order of its first occurrence."""
        decided = (each for log in self._logs.values() for each in log.counts)
        return list(dict.fromkeys(each for each in decided if each.verdict is Decision.REFUSED))

    def read(self) -> None:
        """Read what is new."""
        there = {_uid(pod): pod for pod in _meshed(self._context)}
        for uid, pod in there.items():
            self._logs.setdefault(uid, _Log(self._context.cluster, pod)).read(self._context)
        for uid, log in self._logs.items():
            if uid not in there:
                log.gap = "it ended meanwhile: what it logged last is not known"

    def reading(self, seconds: int) -> Reading:
        """Return what was found."""
        counts: Counter[Decided] = Counter()
        for log in self._logs.values():
            counts += log.counts
        found = sorted(
            (PodRead(log.name, log.counts.total(), log.gap) for log in self._logs.values()),
            key=lambda pod: pod.name,
        )
        return Reading(seconds, dict(counts), self.own, tuple(found))


class _Log:
    """The log of one pod's sidecar."""

    def __init__(self, cluster: Cluster, pod: Object, *, from_now: bool = False) -> None:
        self.name = name_of(pod)
        self._namespace = pod["metadata"]["namespace"]
        self.counts: Counter[Decided] = Counter()
        self.own = 0
        self.gap = ""
        before = self._lines(cluster, lines=1) if from_now else None
        self._last = before[-1] if before else ""

    def read(self, context: Context) -> None:
        """Read what is new; the line that was read last must still be there."""
        found = self._lines(context.cluster, since=_shortly_before(self._last))
        if found is None:
            return
        new = _after(self._last, found)
        if len(new) == len(found) and self._last:
            self.gap = "a part of its log is gone: it was rotated, or istio-proxy was restarted"
        self._last = found[-1] if found else self._last
        self._count(new, context.parameters)

    def _count(self, lines: list[str], parameters: Parameters) -> None:
        for line in lines:
            if found := logged(line.partition(" ")[2], parameters):
                self.own += found.own
                self.counts[found.decided] += not found.own
        self.counts = +self.counts

    def _lines(
        self, cluster: Cluster, *, lines: int | None = None, since: str = ""
    ) -> list[str] | None:
        """Return lines of the log; None of a pod that starts, or has just gone."""
        try:
            return cluster.logs(
                self._namespace, self.name, PROXY, lines=lines, since=since, timestamps=True
            )
        except ClusterRefused as error:
            if error.status not in (400, 404):
                raise
            return None


def _after(last: str, lines: list[str]) -> list[str]:
    """Return the lines after one of them; all if it is not there."""
    for index in range(len(lines) - 1, -1, -1):
        if lines[index] == last:
            return lines[index + 1 :]
    return lines


def _shortly_before(line: str) -> str:
    """Return a second before a line was written, as the API takes it; empty for no line.

    Lines of the two streams of a container may be a little out of order.
    """
    if not line:
        return ""
    moment = datetime.fromisoformat(line.partition(" ")[0]) - timedelta(seconds=1)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _meshed(context: Context) -> list[Object]:
    """Return the web pods with sidecars."""
    return [pod for pod in web_pods(context.cluster, context.parameters) if has_sidecar(pod)]


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])
