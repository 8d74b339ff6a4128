"""NetworkPolicies that keep sidecars from istiod: their pods would never become ready."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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
from runbook_lib.mesh import has_ended, templates
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


def istiod_out_of_reach(context: Context) -> Iterator[Finding]:
    """Find NetworkPolicies that close what sidecars need: istiod's port, and the way to its name.

    Whoever has a ready sidecar has proved that it gets there.
    """
    namespace = context.parameters.application.namespace
    starting = [
        each
        for each in templates.meshed(context)
        if not each.live or not all(map(pods.has_ready_sidecar, each.live))
    ]
    policies = context.cluster.list(NETWORKING, "NetworkPolicy")
    if not starting or not policies:
        return
    labels = _namespace_labels(context, namespace)
    callers = {
        each.where: Peer(namespace, labels_of(each.pod), labels, dict(named_ports(each.pod)))
        for each in starting
    }
    istiod, dns = _istiod(context), _dns(context)
    yield from _at(policies, starting, callers, istiod, "Egress")
    yield from _at(policies, starting, callers, istiod, "Ingress")
    yield from _at(policies, starting, callers, dns, "Egress")


def _at(
    policies: Iterable[Object],
    starting: Iterable[Template],
    callers: dict[str, Peer],
    hop: _Hop,
    direction: Direction,
) -> Iterator[Finding]:
    """Yield what is closed, or may be, at one end of a connection: once for the same policies."""
    found: dict[tuple[str, ...], tuple[Judgement, list[str]]] = {}
    for each in starting:
        caller = callers[each.where]
        ends = (caller, hop.called) if direction == "Egress" else (hop.called, caller)
        judged = judge(policies, *ends, direction, hop.port, hop.protocol)
        if judged.verdict is not Verdict.OPEN:
            key = (judged.verdict, *map(reference, judged.policies))
            found.setdefault(key, (judged, []))[1].append(each.where)
    for judged, names in found.values():
        rule = hop.rule(direction, callers[names[0]])
        yield _finding(judged, hop, direction, ", ".join(names), rule)


def _finding(
    judged: Judgement, hop: _Hop, direction: Direction, callers: str, rule: str
) -> Finding:
    field = f".spec.{direction.lower()}"
    where = ", ".join(map(reference, judged.policies))
    evidence = tuple(reference(p, f"{field}: {_shown(p, direction)}") for p in judged.policies)
    edit = judged.policies[0]
    remedy = (
        f"add to {field}: {rule}; kubectl --namespace {namespace_of(edit)} edit networkpolicy "
        f"{name_of(edit)}"
    )
    way = f"{hop.to} on {hop.protocol} {hop.port}"
    if judged.verdict is Verdict.CLOSED:
        return Finding(
            where, f"pods of {callers} cannot reach {way}", _NEVER_READY, remedy, evidence
        )
    return Finding(
        where,
        f"whether pods of {callers} reach {way} cannot be told: addresses, or labels that are not "
        "there yet, decide",
        f"if they do not: {_NEVER_READY}",
        f"make sure that they do, or {remedy}",
        evidence,
        severity=Severity.NOTE,
    )


def _shown(policy: Object, direction: Direction) -> str:
    rules = policy["spec"].get(direction.lower())
    return shorten(json.dumps(rules), _SHOWN) if rules else "no rule"


def _istiod(context: Context) -> _Hop:
    istio = context.parameters.istio
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
