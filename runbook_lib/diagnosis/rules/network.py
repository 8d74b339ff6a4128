"""Rules about NetworkPolicies, which are judged before any policy of the mesh."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from runbook_lib.base import shorten
from runbook_lib.chapters.shared.preflight.traffic import Closed, Peer, Verdict, judge, named_ports
from runbook_lib.cluster import Object, labels_of, name_of, namespace_of, pods, reference
from runbook_lib.diagnosis import Cause, Observation, pods_of, proxy_name, registry
from runbook_lib.mesh.ends import needed
from runbook_lib.mesh.policy import serves, service_targets

_POLICIES = "https://kubernetes.io/docs/concepts/services-networking/network-policies/"

_OUTSIDE = Peer("", {}, {}, in_cluster=False)
"""A load balancer."""

_LENGTH = 200
"""Characters of a policy's rules that are shown."""

_rule = partial(registry.rule, registry.Area.SIDECARS, "02_label_namespace")


@_rule(order=112, needs=("closed", "pods"), uses=("proxies",))
def network_policy_closes(seen: Observation) -> Iterator[Cause]:
    """A NetworkPolicy keeps sidecars from istiod or from its name, and some have not got there."""
    found: dict[str, list[Closed]] = {}
    for each in seen.closed:
        if each.finding.refuses and _cut_off(seen, each):
            found.setdefault(each.finding.where, []).append(each)
    for where, closed in found.items():
        findings = [each.finding for each in closed]
        callers = [name_of(made.keeper) for each in closed for made in each.callers]
        answers = [answer for name in callers for answer in seen.failed_by(name)]
        effect = (
            "sidecars get neither certificates nor configuration, and new pods do not become ready"
        )
        yield Cause(
            where,
            "; ".join(finding.what for finding in findings),
            f"{effect}: {answers[0].text}" if answers else effect,
            "; ".join(finding.remedy for finding in findings),
            tuple(dict.fromkeys(line for finding in findings for line in finding.evidence)),
            link=_POLICIES,
            outside=bool(answers),
        )


@_rule(order=114, needs=("network_policies", "pods", "services", "answers"))
def network_policy_locks_out(seen: Observation) -> Iterator[Cause]:
    """Users get no answer, and NetworkPolicies close the web pods, or what these need."""
    found: dict[str, list[tuple[str, Object, str]]] = {}
    for what, caller, called, port in _connections(seen):
        ends = {
            "ingress": judge(seen.network_policies, called, caller, "Ingress", port),
            "egress": judge(seen.network_policies, caller, called, "Egress", port),
        }
        for direction, judged in ends.items():
            if judged.verdict is Verdict.CLOSED:
                where = ", ".join(map(reference, judged.policies))
                found.setdefault(where, []).append((what, judged.policies[0], direction))
    for where, closed in found.items():
        policy = closed[0][1]
        yield Cause(
            where,
            f"it lets no call through to {', '.join(dict.fromkeys(what for what, _, _ in closed))}",
            seen.server_errors[0].text,
            f"add a rule for it: kubectl --namespace {namespace_of(policy)} edit networkpolicy "
            f"{name_of(policy)}",
            tuple(dict.fromkeys(_field(policy, direction) for _, policy, direction in closed)),
            link=_POLICIES,
            outside=True,
        )


def _connections(seen: Observation) -> Iterator[tuple[str, Peer, Peer, int]]:
    """Yield what users wait for in vain: what is called, both ends, and the container's port."""
    web = next(iter(seen.web_pods), None)
    if web is None or not seen.server_errors:
        return
    port = seen.parameters.application.web.port
    if seen.unreachable:
        yield f"the web pods' port {port}", _OUTSIDE, _peer(seen, web), port
    for name in needed(seen.parameters):
        pod = next((p for p in seen.pods if pods.workload_of(p)[1] == name), None)
        for service in seen.services:
            if pod is not None and serves(service, pod):
                for _, number in service_targets(service, pod):
                    yield f"{name} on {number}", _peer(seen, web), _peer(seen, pod), number


def _peer(seen: Observation, pod: Object) -> Peer:
    labels = {"kubernetes.io/metadata.name": namespace_of(pod), **seen.labels}
    return Peer(namespace_of(pod), labels_of(pod), labels, dict(named_ports(pod)))


def _field(policy: Object, direction: str) -> str:
    rules = policy["spec"].get(direction)
    shown = shorten(json.dumps(rules), _LENGTH) if rules else "no rule"
    return reference(policy, f".spec.{direction}: {shown}")


def _cut_off(seen: Observation, closed: Closed) -> list[str]:
    """Return the pods that have not got to where they are kept from: others prove the contrary.

    A network plugin may enforce no NetworkPolicies, or only for new connections.
    """
    return [
        name_of(pod)
        for made in closed.callers
        for pod in pods_of(seen, made.keeper)
        if pods.has_sidecar(pod) and not pods.is_leaving(pod)
        if not pods.has_ready_sidecar(pod)
        or ("proxies" not in seen.unseen and proxy_name(pod) not in seen.proxies)
    ]
