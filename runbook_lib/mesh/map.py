"""What is known about the mesh at one moment: a model to draw, and its twin in plain text.

It holds what was observed (live objects, answers to requests) and what follows from the policies in
force. Every link says which of the two it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

EDGE = "load balancer"
"""Link end: what stands between users and the cluster."""

OUTSIDER = "caller without a sidecar"
"""Link end: any pod of the cluster that is not in the mesh."""


class LinkState(StrEnum):
    """What happens to traffic on a link."""

    PLAINTEXT = "plaintext"
    MUTUAL_TLS = "mTLS"
    REFUSED = "refused"
    NO_ANSWER = "no answer"
    UNKNOWN = "unknown"
    CONFIGURES = "configures"


class Basis(StrEnum):
    """How the state of a link is known."""

    ASKED = "asked"
    DERIVED = "derived"


BASIS_MEANINGS = {
    Basis.ASKED: "requests were sent and answered as shown",
    Basis.DERIVED: "follows from live objects and policies in force; nothing was sent",
}


class Sidecar(StrEnum):
    """Whether a pod is in the mesh."""

    READY = "sidecar ready"
    NOT_READY = "sidecar not ready"
    NONE = "no sidecar"


class Role(StrEnum):
    """What a workload is to the runbook."""

    WEB = "web"
    DEPENDENCY = "dependency"
    CONTROL_PLANE = "control plane"
    OTHER = "other"


@dataclass(frozen=True)
class PodView:
    """A pod.

    Attributes:
        name: Its name.
        ready: kubectl's READY column, such as `2/2`.
        problem: Why it does not serve; empty if it does.
        sidecar: Whether it carries Istio's proxy.
        simulated: Whether it only exists as an object, as some of the lab's pods do.
    """

    name: str
    ready: str
    problem: str = ""
    sidecar: Sidecar = Sidecar.NONE
    simulated: bool = False

    @property
    def text(self) -> str:
        """The pod on one line."""
        parts = [self.name, self.ready, self.problem or "ready", self.sidecar]
        return "  ".join([*parts, "simulated"] if self.simulated else parts)


@dataclass(frozen=True)
class WorkloadView:
    """Pods that one controller keeps, those that are not ready first."""

    kind: str
    name: str
    role: Role
    pods: tuple[PodView, ...] = ()


@dataclass(frozen=True)
class NamespaceView:
    """A namespace.

    Attributes:
        name: Its name.
        exists: Whether there is such a namespace.
        injects: Whether new pods in it get sidecars; None where that is of no interest.
        workloads: Its workloads.
        policies: Its policies in force, each on one line.
    """

    name: str
    exists: bool = True
    injects: bool | None = None
    workloads: tuple[WorkloadView, ...] = ()
    policies: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """The namespace on one line."""
        if not self.exists:
            return f"namespace {self.name}: does not exist"
        if self.injects is None:
            return f"namespace {self.name}"
        return f"namespace {self.name}: sidecar injection {'on' if self.injects else 'off'}"


@dataclass(frozen=True)
class Link:
    """Who calls whom, and what becomes of it.

    Attributes:
        source: `EDGE`, `OUTSIDER` or a workload's name.
        target: A workload's or namespace's name.
        port: The container's port; None if it is no one port.
        state: What happens.
        basis: How that is known.
        reasons: Why it is so, most telling first.
        answers: What requests were answered, such as `POST 403 denied`; empty if none was sent.
    """

    source: str
    target: str
    port: int | None
    state: LinkState
    basis: Basis
    reasons: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()

    @property
    def end(self) -> str:
        """The target with its port."""
        return f"{self.target}:{self.port}" if self.port else self.target

    @property
    def sentence(self) -> str:
        """The link on one line."""
        answers = f" ({', '.join(self.answers)})" if self.answers else ""
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return f"{self.source} -> {self.end}  {self.state}{answers}  [{self.basis}{why}]"


@dataclass(frozen=True)
class MeshMap:
    """The mesh at one moment.

    Attributes:
        target: The cluster's name.
        url: The application from outside.
        seen_at: When it was looked at, in UTC.
        application: The application's namespace.
        istio: The control plane's namespace.
        links: Who calls whom.
    """

    target: str
    url: str
    seen_at: datetime
    application: NamespaceView
    istio: NamespaceView
    links: tuple[Link, ...]

    @property
    def title(self) -> str:
        """What it is, and of when."""
        return f"Mesh on {self.target}, seen {self.seen_at:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def summary(self) -> str:
        """The whole of it in sentences, as an alternative to the picture."""
        return ". ".join(
            [
                *(_namespace_sentence(view) for view in (self.application, self.istio)),
                *(link.sentence.replace(" -> ", " to ").replace("  ", " ") for link in self.links),
                "",
            ]
        ).strip()

    def __str__(self) -> str:
        """The map as text: everything that the picture shows."""
        lines = [self.title, "", f"{EDGE} {self.url}"]
        for view in (self.application, self.istio):
            lines += ["", *_namespace_lines(view)]
        lines += ["", "links", *(f"  {link.sentence}" for link in self.links)]
        used = {link.basis for link in self.links}
        lines += [f"  {basis}: {text}" for basis, text in BASIS_MEANINGS.items() if basis in used]
        return "\n".join(lines)


def _namespace_lines(view: NamespaceView) -> Iterator[str]:
    yield view.heading
    for workload in view.workloads:
        yield f"  {workload.kind} {workload.name} ({workload.role})"
        for pod in workload.pods:
            yield f"    {pod.text}"
        if not workload.pods:
            yield "    no pods"
    for policy in view.policies:
        yield f"  policy {policy}"


def _namespace_sentence(view: NamespaceView) -> str:
    pods = [pod for workload in view.workloads for pod in workload.pods]
    ready = sum(not pod.problem for pod in pods)
    proxies = sum(pod.sidecar is not Sidecar.NONE for pod in pods)
    policies = f", policies: {'; '.join(view.policies)}" if view.policies else ""
    if not view.exists:
        return view.heading.capitalize()
    return (
        f"{view.heading.capitalize()}, {len(pods)} pods, {ready} ready, "
        f"{proxies} with sidecars{policies}"
    )
