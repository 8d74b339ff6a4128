"""What NetworkPolicies let through: pure functions.

See https://kubernetes.io/docs/concepts/services-networking/network-policies/ and
https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from runbook_lib.cluster import Object, matches, namespace_of

Direction = Literal["Egress", "Ingress"]


class Verdict(StrEnum):
    """What becomes of a connection."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class Peer:
    """Pods at one end of a connection, or what is no pod.

    Attributes:
        namespace: Their namespace.
        labels: Their labels.
        namespace_labels: Their namespace's labels.
        ports: The numbers of their container ports, by name.
        known: Whether live pods were looked at; otherwise they may carry more than is given.
        in_cluster: Whether it is pods: labels select no others, such as a load balancer.
    """

    namespace: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    ports: Mapping[str, int] = field(default_factory=dict)
    known: bool = True
    in_cluster: bool = True


@dataclass(frozen=True)
class Judgement:
    """What NetworkPolicies make of a connection at one of its ends.

    Attributes:
        verdict: What becomes of it.
        policies: Those that select the pods there: what none of them allows is closed.
    """

    verdict: Verdict
    policies: tuple[Object, ...] = ()


def judge(
    policies: Iterable[Object],
    pods: Peer,
    others: Peer,
    direction: Direction,
    port: int,
    protocol: str = "TCP",
) -> Judgement:
    """Return what becomes of a connection at one of its ends; it has to be open at both.

    Args:
        policies: NetworkPolicies, of any namespaces.
        pods: The pods at this end.
        others: Those at the other end.
        direction: `Egress` if these pods call the others.
        port: The container port that is called.
        protocol: `TCP`, `UDP` or `SCTP`.
    """
    selecting = tuple(each for each in policies if _selects(each, pods, direction))
    if not selecting:
        return Judgement(Verdict.OPEN)
    called = others if direction == "Egress" else pods
    allowed = _any(
        _all(
            (
                _any(_peer(peer, namespace_of(policy), others) for peer in _peers(rule, direction)),
                _any(_port(each, called, port, protocol) for each in rule.get("ports") or [{}]),
            )
        )
        for policy in selecting
        for rule in policy["spec"].get(direction.lower()) or []
    )
    verdict = {True: Verdict.OPEN, False: Verdict.CLOSED, None: Verdict.UNKNOWN}[allowed]
    return Judgement(verdict, selecting)


def _selects(policy: Object, pods: Peer, direction: Direction) -> bool:
    """Whether a policy isolates pods in a direction: if it does not say which, by its rules."""
    spec = policy["spec"]
    implied = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return (
        namespace_of(policy) == pods.namespace
        and direction in (spec.get("policyTypes") or implied)
        and matches(spec.get("podSelector") or {}, pods.labels)
    )


def _peers(rule: Object, direction: Direction) -> Sequence[Object]:
    """Return whom a rule is about; an empty mapping stands for everybody."""
    return rule.get("to" if direction == "Egress" else "from") or [{}]


def _peer(peer: Object, namespace: str, others: Peer) -> bool | None:
    """Whether a rule's peer is the pods at the other end; None if that cannot be told.

    Which addresses pods have, and whether an ipBlock means pods at all, differs by network plugin.
    """
    if "ipBlock" in peer:
        return None
    if not peer:
        return True
    if not others.in_cluster:
        return False
    if "namespaceSelector" in peer:
        there = matches(peer["namespaceSelector"] or {}, others.namespace_labels)
    else:
        there = namespace == others.namespace
    if not there:
        return False
    return matches(peer.get("podSelector") or {}, others.labels) or (
        False if others.known else None
    )


def _port(entry: Object, called: Peer, port: int, protocol: str) -> bool | None:
    """Whether an entry of a rule's ports is the one that is called; an empty one is all of them."""
    if not entry:
        return True
    if entry.get("protocol", "TCP") != protocol:
        return False
    desired = entry.get("port")
    if desired is None:
        return True
    if isinstance(desired, str):
        number = called.ports.get(desired)
        return number == port if number is not None or called.known else None
    first = int(desired)
    return first <= port <= int(entry.get("endPort") or first)


def _any(found: Iterable[bool | None]) -> bool | None:
    """Whether one holds; None if that depends on what cannot be told."""
    seen = list(found)
    return True if True in seen else None if None in seen else False


def _all(found: Iterable[bool | None]) -> bool | None:
    """Whether all hold; None if that depends on what cannot be told."""
    seen = list(found)
    return False if False in seen else None if None in seen else True


def named_ports(pod: Object) -> Iterator[tuple[str, int]]:
    """Yield a pod's container ports that have names."""
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if "name" in port:
                yield port["name"], port["containerPort"]
