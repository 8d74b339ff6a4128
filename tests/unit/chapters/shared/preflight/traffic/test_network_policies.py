"""What NetworkPolicies let through, by the rules of Kubernetes."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.chapters.shared.preflight.traffic.network_policies import Peer, Verdict, judge
from runbook_lib.cluster.objects import Object

NAME = "kubernetes.io/metadata.name"
WEB = Peer("xnat", {"app": "web"}, {NAME: "xnat"}, {"http": 8080})
ISTIOD = Peer("istio-system", {"app": "istiod"}, {NAME: "istio-system"}, {"tls-xds": 15012})
NOT_THERE = Peer("istio-system", {"app": "istiod"}, {NAME: "istio-system"}, known=False)
THERE = {"namespaceSelector": {"matchLabels": {NAME: "istio-system"}}}


def policy(namespace: str = "xnat", **spec: Any) -> Object:
    metadata = {"name": "p", "namespace": namespace}
    return {"kind": "NetworkPolicy", "metadata": metadata, "spec": {"podSelector": {}, **spec}}


def egress(*rules: Object, **spec: Any) -> Object:
    return policy(policyTypes=["Egress"], egress=list(rules), **spec)


def to(*peers: Object, ports: list[Object] | None = None) -> Object:
    return {"to": list(peers), **({"ports": ports} if ports else {})}


@pytest.mark.parametrize(
    ("policies", "verdict"),
    [
        ([], Verdict.OPEN),
        # Without policyTypes a policy is about ingress, and about egress if it has such rules.
        ([policy()], Verdict.OPEN),
        ([policy(egress=[to({"podSelector": {}})])], Verdict.CLOSED),
        ([egress()], Verdict.CLOSED),
        ([egress({})], Verdict.OPEN),
        ([egress(podSelector={"matchLabels": {"app": "database"}})], Verdict.OPEN),
        ([policy("shop", policyTypes=["Egress"])], Verdict.OPEN),
        # What one policy closes, another opens.
        ([egress(), egress({})], Verdict.OPEN),
        # A selector of pods alone is about the policy's own namespace, an empty one is about all.
        ([egress(to({"podSelector": {}}))], Verdict.CLOSED),
        ([egress(to({"namespaceSelector": {}}))], Verdict.OPEN),
        ([egress(to(THERE))], Verdict.OPEN),
        ([egress(to({**THERE, "podSelector": {"matchLabels": {"app": "istiod"}}}))], Verdict.OPEN),
        ([egress(to({**THERE, "podSelector": {"matchLabels": {"app": "x"}}}))], Verdict.CLOSED),
        (
            [
                egress(
                    to(
                        {
                            "namespaceSelector": {
                                "matchExpressions": [
                                    {"key": NAME, "operator": "NotIn", "values": ["istio-system"]}
                                ]
                            }
                        }
                    )
                )
            ],
            Verdict.CLOSED,
        ),
        ([egress(to({"ipBlock": {"cidr": "10.0.0.0/8"}}))], Verdict.UNKNOWN),
        ([egress(to({"ipBlock": {"cidr": "10.0.0.0/8"}}, ports=[{"port": 443}]))], Verdict.CLOSED),
        ([egress(to({"ipBlock": {"cidr": "10.0.0.0/8"}}), {})], Verdict.OPEN),
    ],
)
def test_a_call_is_open_if_no_policy_selects_the_caller_or_a_rule_allows_it(
    policies: list[Object], verdict: Verdict
) -> None:
    assert judge(policies, WEB, ISTIOD, "Egress", 15012).verdict is verdict


@pytest.mark.parametrize(
    ("port", "verdict"),
    [
        ({"port": 15012}, Verdict.OPEN),
        ({"port": 15010}, Verdict.CLOSED),
        ({"port": 15000, "endPort": 15100}, Verdict.OPEN),
        ({"port": 15013, "endPort": 15100}, Verdict.CLOSED),
        ({"port": "tls-xds"}, Verdict.OPEN),
        ({"port": "http"}, Verdict.CLOSED),
        ({"protocol": "TCP"}, Verdict.OPEN),
        ({"protocol": "UDP"}, Verdict.CLOSED),
        ({"port": 15012, "protocol": "UDP"}, Verdict.CLOSED),
    ],
)
def test_ports_are_numbers_ranges_or_names_of_the_pods_that_are_called(
    port: Object, verdict: Verdict
) -> None:
    assert judge([egress(to(ports=[port]))], WEB, ISTIOD, "Egress", 15012).verdict is verdict
    inward = policy("istio-system", ingress=[{"ports": [port]}])
    assert judge([inward], ISTIOD, WEB, "Ingress", 15012).verdict is verdict


def test_labels_of_pods_that_are_not_there_yet_leave_the_outcome_open() -> None:
    by_label = egress(to({**THERE, "podSelector": {"matchLabels": {"team": "mesh"}}}))
    assert judge([by_label], WEB, NOT_THERE, "Egress", 15012).verdict is Verdict.UNKNOWN
    assert judge([by_label], WEB, ISTIOD, "Egress", 15012).verdict is Verdict.CLOSED
    elsewhere = egress(to({"namespaceSelector": {"matchLabels": {NAME: "shop"}}}))
    assert judge([elsewhere], WEB, NOT_THERE, "Egress", 15012).verdict is Verdict.CLOSED


def test_the_policies_that_select_the_pods_are_named() -> None:
    closing, other = egress(), egress(podSelector={"matchLabels": {"app": "other"}})
    assert judge([closing, other], WEB, ISTIOD, "Egress", 15012).policies == (closing,)
