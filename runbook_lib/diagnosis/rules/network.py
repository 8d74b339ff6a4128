"""Rules about NetworkPolicies, which are judged before any policy of the mesh."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.chapters.shared.preflight.traffic import Closed
from runbook_lib.cluster import name_of, pods
from runbook_lib.diagnosis import Cause, Observation, proxy_name, registry

_POLICIES = "https://kubernetes.io/docs/concepts/services-networking/network-policies/"

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
        answers = [
            a for each in closed for m in each.callers for a in seen.failed_by(name_of(m.keeper))
        ]
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


def _cut_off(seen: Observation, closed: Closed) -> list[str]:
    """Return the pods that have not got to where they are kept from: others prove the contrary.

    A network plugin may enforce no NetworkPolicies, or only for new connections.
    """
    return [
        name_of(pod)
        for made in closed.callers
        for pod in made.live
        if pods.has_sidecar(pod) and not pods.is_leaving(pod)
        if not pods.has_ready_sidecar(pod)
        or ("proxies" not in seen.unseen and proxy_name(pod) not in seen.proxies)
    ]
