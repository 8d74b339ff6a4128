"""NetworkPolicies that keep sidecars from istiod: their pods would never become ready."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from runbook_lib.base import shorten
from runbook_lib.chapters.shared.preflight.traffic.network_policies import (
    Direction,
    Judgement,
    Peer,
    Verdict,
    judge,
    named_ports,
)
from runbook_lib.cluster import (
    APPS,
    NETWORKING,
    REVISION_LABEL,
    Object,
    labels_of,
    name_of,
    namespace_of,
    pods,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.mesh import has_ended, revisions, templates
from runbook_lib.mesh.templates import Template

_NAMESPACE = "kubernetes.io/metadata.name"
"""Every namespace carries its name under this label."""

_DNS_NAMESPACE, _DNS_LABELS = "kube-system", {"k8s-app": "kube-dns"}
_ISTIOD_PORTS, _DNS_PORTS = {"tls-xds": 15012}, {"dns": 53}
"""Names of container ports, in istiod's chart and in manifests of CoreDNS."""

_SHOWN = 200
"""Characters of a policy's rules that are shown."""

_NEVER_READY = (
    "sidecars get neither certificates nor configuration, and new pods never become ready, where "
    "the cluster's network plugin enforces NetworkPolicies"
)


_PROBES = "the kubelet's probes at 15020 and 15021 need no rule: a pod's own node is always let in"
"""See https://kubernetes.io/docs/concepts/services-networking/network-policies/."""


@dataclass(frozen=True)
class _Hop:
    """A connection that sidecars need.

    Attributes:
        to: What is called, in words.
        port: The container port.
        protocol: Its protocol.
        called: The pods that are called.
    """

    to: str
    port: int
    protocol: str
    called: Peer

    def rule(self, direction: Direction, caller: Peer) -> str:
        """Return what a policy would have to say to let it through."""
        key, peer = ("to", self.called) if direction == "Egress" else ("from", caller)
        selectors = f"namespaceSelector: {{matchLabels: {{{_NAMESPACE}: {peer.namespace}}}}}"
        if direction == "Egress":
            label = "k8s-app: kube-dns" if self.port == 53 else "app: istiod"
            selectors += f", podSelector: {{matchLabels: {{{label}}}}}"
        port = f"{{protocol: {self.protocol}, port: {self.port}}}"
        return f"{{{key}: [{{{selectors}}}], ports: [{port}]}}"


@dataclass(frozen=True)
class Closed:
    """What NetworkPolicies close to sidecars, or may close.

    Attributes:
        judged: What the policies make of it.
        hop: The connection.
        direction: At which end of it they are.
        callers: What the pods are made of that it is closed to.
    """

    judged: Judgement
    hop: _Hop
    direction: Direction
    callers: tuple[Template, ...]

    @property
    def finding(self) -> Finding:
        """It in words."""
        field = f".spec.{self.direction.lower()}"
        policies = self.judged.policies
        where = ", ".join(map(reference, policies))
        evidence = tuple(reference(p, f"{field}: {_shown(p, self.direction)}") for p in policies)
        first = policies[0]
        remedy = (
            f"add to {field}: {self.hop.rule(self.direction, _peer(self.callers[0]))}; kubectl "
            f"--namespace {namespace_of(first)} edit networkpolicy {name_of(first)}"
        )
        callers = ", ".join(each.where for each in self.callers)
        way = f"{self.hop.to} on {self.hop.protocol} {self.hop.port}"
        if self.judged.verdict is Verdict.CLOSED:
            cause = f"pods of {callers} cannot reach {way}"
            return Finding(where, cause, _NEVER_READY, f"{remedy}; {_PROBES}", evidence)
        return Finding(
            where,
            f"whether pods of {callers} reach {way} cannot be told: addresses, or labels that are "
            "not there yet, decide",
            f"if they do not: {_NEVER_READY}",
            f"make sure that they do, or {remedy}",
            evidence,
            severity=Severity.NOTE,
        )


def istiod_out_of_reach(context: Context) -> Iterator[Finding]:
    """Find NetworkPolicies that close what sidecars need: istiod's port, and the way to its name.

    Whoever has a ready sidecar has proved that it gets there.
    """
    starting = [
        each
        for each in templates.meshed(context)
        if not each.live or not all(map(pods.has_ready_sidecar, each.live))
    ]
    for each in closed_to_sidecars(context, starting):
        yield each.finding


def closed_to_sidecars(context: Context, callers: Sequence[Template]) -> Iterator[Closed]:
    """Yield what NetworkPolicies close of what sidecars need, whether they get there or not.

    Args:
        context: Where.
        callers: What the pods are made of that have sidecars, or are to have them.
    """
    policies = context.cluster.list(NETWORKING, "NetworkPolicy")
    if not callers or not policies:
        return
    labels = _namespace_labels(context, context.parameters.application.namespace)
    peers = [(each, replace(_peer(each), namespace_labels=labels)) for each in callers]
    istiod, dns = _istiod(context), _dns(context)
    yield from _at(policies, peers, istiod, "Egress")
    yield from _at(policies, peers, istiod, "Ingress")
    yield from _at(policies, peers, dns, "Egress")


def _peer(made: Template) -> Peer:
    """Return pods as one end of a connection, but for the labels of their namespace."""
    return Peer(namespace_of(made.pod), labels_of(made.pod), {}, dict(named_ports(made.pod)))


def _at(
    policies: Iterable[Object],
    callers: Iterable[tuple[Template, Peer]],
    hop: _Hop,
    direction: Direction,
) -> Iterator[Closed]:
    """Yield what is closed, or may be, at one end of a connection: once for the same policies."""
    found: dict[tuple[str, ...], tuple[Judgement, list[Template]]] = {}
    for each, caller in callers:
        ends = (caller, hop.called) if direction == "Egress" else (hop.called, caller)
        judged = judge(policies, *ends, direction, hop.port, hop.protocol)
        if judged.verdict is not Verdict.OPEN:
            key = (judged.verdict, *map(reference, judged.policies))
            found.setdefault(key, (judged, []))[1].append(each)
    for judged, made in found.values():
        yield Closed(judged, hop, direction, tuple(made))


def _shown(policy: Object, direction: Direction) -> str:
    rules = policy["spec"].get(direction.lower())
    return shorten(json.dumps(rules), _SHOWN) if rules else "no rule"


def _istiod(context: Context) -> _Hop:
    istio = revisions.of_cluster(context.cluster, context.parameters).istio
    found = [
        pod
        for pod in context.cluster.list("v1", "Pod", istio.namespace, {"app": "istiod"})
        if not has_ended(pod)
    ]
    labels = {"app": "istiod", "istio": "pilot", REVISION_LABEL: istio.revision}
    assumed = Peer(istio.namespace, labels, {}, _ISTIOD_PORTS, known=False)
    return _Hop("istiod", 15012, "TCP", _called(context, found, assumed))


def _dns(context: Context) -> _Hop:
    """The cluster's DNS, of which only pods are known: it may be on the nodes themselves."""
    found = context.cluster.list("v1", "Pod", _DNS_NAMESPACE, _DNS_LABELS)
    on_nodes = context.cluster.get(APPS, "DaemonSet", "node-local-dns", _DNS_NAMESPACE)
    seen = [] if on_nodes is not None else found
    assumed = Peer(_DNS_NAMESPACE, _DNS_LABELS, {}, _DNS_PORTS, known=False)
    return _Hop("the cluster's DNS", 53, "UDP", _called(context, seen, assumed))


def _called(context: Context, found: list[Object], assumed: Peer) -> Peer:
    """Return the pods that are called, or what is known of them before they are there."""
    labels = _namespace_labels(context, assumed.namespace)
    if not found:
        return replace(assumed, namespace_labels=labels)
    return Peer(assumed.namespace, labels_of(found[0]), labels, dict(named_ports(found[0])))


def _namespace_labels(context: Context, namespace: str) -> dict[str, str]:
    found = context.cluster.get("v1", "Namespace", namespace) or {}
    return {_NAMESPACE: namespace, **labels_of(found)}
