"""Make callers, ask through them, and remove them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import NamedTuple

import httpx

from runbook_lib.base import ClusterRefused, RunbookError, State
from runbook_lib.cluster import (
    Object,
    has_sidecar,
    name_of,
    object_diff,
    pods,
    ref,
    reference,
)
from runbook_lib.lifecycle import Change, Context, Unknown
from runbook_lib.mesh.callers import speaking
from runbook_lib.mesh.callers.manifest import CALLER, ports
from runbook_lib.mesh.callers.model import Answer, Asker, Endpoint, Outcome, Question
from runbook_lib.mesh.rollout import has_ended

_ADMIN_PORT = 15000
"""Envoy's, on the loopback of every pod with a sidecar."""

_LIMIT = 5.0
"""Seconds to wait for an answer: less than the 10 after which sidecars give up themselves."""

_COUNTER = re.compile(
    r"cluster\.outbound\|(\d+)\|[^|]*\|(.+?);?\.(ssl\.handshake|upstream_cx_total)"
)


class _Count(NamedTuple):
    """Connections to a Service's port, and those of them that are mutual TLS."""

    connections: int = 0
    handshakes: int = 0


_Counts = Mapping[tuple[str, int], _Count]
"""By host and port."""


class Calls:
    """Callers that are ready to ask."""

    def __init__(
        self, context: Context, found: Mapping[Asker, Object], servers: Sequence[Endpoint]
    ) -> None:
        """Nothing is asked yet.

        Args:
            context: Where.
            found: The pods of the callers.
            servers: Whom they can call.
        """
        self._ways = {caller: _Way(context, pod, caller, servers) for caller, pod in found.items()}

    def ask(self, questions: Iterable[Question]) -> dict[Question, Answer]:
        """Ask each question once, over a connection of its own; callers ask at the same time.

        Raises:
            CommandError: There is no way to a caller.
        """
        by_caller: dict[Asker, list[Question]] = defaultdict(list)
        for question in questions:
            by_caller[question.caller].append(question)
        with ThreadPoolExecutor(len(by_caller) or 1) as threads:
            answered = threads.map(lambda item: self._ways[item[0]].ask(item[1]), by_caller.items())
            return {question: answer for each in answered for question, answer in each.items()}

    def close(self) -> None:
        """End the ways."""
        for way in self._ways.values():
            way.close()


class _Way:
    """The way to one caller, through kubectl."""

    def __init__(
        self, context: Context, pod: Object, caller: Asker, servers: Sequence[Endpoint]
    ) -> None:
        self._context, self._pod, self._caller = context, pod, caller
        self._servers = list(servers)
        self._timeout = min(_LIMIT, context.parameters.timeouts.probe)
        self._open: ExitStack | None = None
        self._closed = False
        self._urls: tuple[str, ...] = ()
        self._counted: _Counts = {}
        self._mutual_tls: dict[tuple[str, int], bool] = {}

    def ask(self, questions: Sequence[Question]) -> dict[Question, Answer]:
        found = {question: self._ask(question) for question in questions}
        if self._caller.sidecar:
            self._count()
        return {
            question: replace(answer, mutual_tls=self._how(question))
            if answer.outcome is Outcome.ANSWERED
            else answer
            for question, answer in found.items()
        }

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _ask(self, question: Question) -> Answer:
        """Ask on the open way; on a new one where it is not sure that this was asked at all.

        A connection that is reset ends kubectl in its own time, and what comes after it is closed
        as well.
        """
        doubtful = self._closed
        try:
            answer = self._ask_once(question)
        except speaking.WayLost:
            doubtful, answer = True, Answer(Outcome.CLOSED, "")
        if doubtful and answer.outcome is Outcome.CLOSED:
            self.close()
            try:
                answer = self._ask_once(question)
            except speaking.WayLost:
                return Answer(Outcome.SILENT, "the caller takes no connections")
        self._closed = answer.outcome is Outcome.CLOSED
        return answer

    def _ask_once(self, question: Question) -> Answer:
        url = self._url(self._servers.index(question.server))
        return speaking.ask(question, url, timeout=self._timeout)

    def _url(self, number: int) -> str:
        if self._open is None:
            numbers = ports(self._servers) + [_ADMIN_PORT] * self._caller.sidecar
            self._open = ExitStack()
            self._urls = self._open.enter_context(
                self._context.forwarded(
                    f"pod/{name_of(self._pod)}", self._caller.namespace, *numbers
                )
            )
        return self._urls[number]

    def _count(self) -> None:
        """Tell by its sidecar's counters how the last connections were made."""
        try:
            answer = httpx.get(
                f"{self._url(len(self._servers))}/stats",
                params={"format": "json", "filter": r"^cluster\.outbound.*(handshake|cx_total)$"},
                timeout=self._timeout,
                trust_env=False,
                verify=False,
            )
            counts = read_counts(answer.json()["stats"])
        except (httpx.HTTPError, ValueError, KeyError):
            return
        for key, now in counts.items():
            before = self._counted.get(key, _Count())
            # A sidecar keeps connections for HTTP: without a new one, what was told still holds.
            if made := now.connections - before.connections:
                self._mutual_tls[key] = now.handshakes - before.handshakes >= made
        self._counted = counts

    def _how(self, question: Question) -> bool | None:
        if not self._caller.sidecar:
            return False
        return self._mutual_tls.get((question.server.host, question.server.port))


def read_counts(stats: Iterable[Mapping[str, object]]) -> dict[tuple[str, int], _Count]:
    """Return connections and handshakes by host and port, from Envoy's own statistics."""
    found: dict[tuple[str, int], _Count] = {}
    for each in stats:
        if match := _COUNTER.fullmatch(str(each.get("name"))):
            key, number = (match[2], int(match[1])), int(str(each["value"]))
            count = found.get(key, _Count())
            if match[3] == "ssl.handshake":
                found[key] = count._replace(handshakes=count.handshakes + number)
            else:
                found[key] = count._replace(connections=count.connections + number)
    return found


@contextmanager
def calling(
    context: Context, jobs: Mapping[Asker, Object], servers: Sequence[Endpoint]
) -> Iterator[Calls]:
    """Make callers that can be asked through, and remove them at the end, whatever happens.

    Args:
        context: Where.
        jobs: The callers' Jobs.
        servers: Whom the callers can call, in the order for which the Jobs were made.

    Raises:
        WaitTimeout: A caller is not ready in time; the error says why.
        WaitFailed: A caller never will be.
        ClusterRefused: A Job is refused.
    """
    with made(context, jobs, timeout=context.parameters.timeouts.policy) as found:
        calls = Calls(context, found, servers)
        try:
            yield calls
        finally:
            calls.close()


@contextmanager
def made(
    context: Context, jobs: Mapping[Asker, Object], *, timeout: float
) -> Iterator[dict[Asker, Object]]:
    """Make callers, wait until they are ready, and remove them at the end, whatever happens.

    Args:
        context: Where.
        jobs: The callers' Jobs.
        timeout: Seconds for each to become ready.

    Yields:
        The callers' pods.

    Raises:
        WaitTimeout: A caller is not ready in time; the error says why.
        WaitFailed: A caller never will be.
        ClusterRefused: A Job is refused.
    """
    _remove(context, jobs.values())  # what a run that was killed has left
    try:
        for manifest in jobs.values():
            context.cluster.apply(manifest)
        yield {caller: _ready(context, caller, item, timeout) for caller, item in jobs.items()}
    finally:
        _remove(context, jobs.values())


def _ready(context: Context, caller: Asker, manifest: Object, timeout: float) -> Object:
    """Wait until a caller's pod is ready, and return it."""
    cluster, name = context.cluster, name_of(manifest)
    ready: list[Object] = []

    def observe(found: list[Object]) -> State:
        if not found:
            reasons = pods.explain(cluster, caller.namespace, [name])
            return State(False, "; ".join(["no pod", *reasons[-2:]]))
        pod = found[-1]
        if has_sidecar(pod) is not caller.sidecar:
            which = "has no sidecar" if caller.sidecar else "was given a sidecar"
            return State(False, f"{name_of(pod)} {which}", failed=True)
        ready[:] = [pod]
        return State(pods.is_ready(pod), pods.describe(pod), failed=has_ended(pod))

    cluster.watch_until(
        f"the caller {caller.namespace}/{name} to be ready",
        "v1",
        "Pod",
        caller.namespace,
        observe,
        labels={CALLER: name},
        timeout=timeout,
        on_change=context.waiting,
    )
    return ready[0]


def planned(context: Context, made: Object, way_on: str) -> Change:
    """Return the change that makes a caller, as the API server would take it.

    Args:
        context: Where.
        made: The caller's Job.
        way_on: What to do where the API server refuses it.

    Raises:
        RunbookError: It would refuse the Job.
    """
    metadata = made["metadata"]
    if context.cluster.get("batch/v1", "Job", metadata["name"], metadata["namespace"]) is None:
        try:
            context.cluster.apply(made, dry_run=True)
        except ClusterRefused as error:
            raise RunbookError(error.cause, way_on) from error
    diff = object_diff(None, made)
    return Change(reference(made), "run", diff.text, diff.digest)


def foreseen(caller: Asker) -> Change:
    """Return the same before it is known what the caller is made of."""
    what = "a pod from the image of the sidecars, known once there are some"
    where = ref("Job", caller.job, caller.namespace)
    return Change.of_text(where, "run", what, unknown=(Unknown.CONTENT,))


def _remove(context: Context, manifests: Iterable[Object]) -> None:
    """Delete callers, and wait until their pods are gone."""
    going = [
        item
        for item in manifests
        if context.cluster.delete("batch/v1", "Job", name_of(item), item["metadata"]["namespace"])
    ]
    for item in going:
        context.cluster.watch_until(
            f"the caller {name_of(item)} to be gone",
            "v1",
            "Pod",
            item["metadata"]["namespace"],
            lambda found: State(not found, "; ".join(map(pods.describe, found)) or "gone"),
            labels={CALLER: name_of(item)},
            timeout=context.parameters.timeouts.policy,
            on_change=context.waiting,
        )
