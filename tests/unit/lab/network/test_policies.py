"""NetworkPolicies become rules of nftables."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from runbook_lib.lab.build.nftables import fetch_nft, find_nft
from runbook_lib.lab.network.gate import ENTER
from runbook_lib.lab.network.policies import Policies, matches

Object = dict[str, Any]
NAMESPACES = {"xnat": {"team": "images"}, "other": {"team": "others"}}


def pod(name: str, address: str, namespace: str = "xnat", **labels: str) -> Object:
    ports = [{"name": "web", "containerPort": 8080}]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "c", "ports": ports}]},
        "status": {"podIP": address},
    }


def policy(**spec: Any) -> Object:
    return {"metadata": {"name": "p", "namespace": "xnat"}, "spec": {"podSelector": {}, **spec}}


WEB = pod("web", "10.244.1.2", app="web")
DATABASE = pod("database", "10.244.1.3", app="database")
STRANGER = pod("stranger", "10.244.1.4", "other", app="web")


def rules(*policies: Object) -> str:
    return Policies(policies, [WEB, DATABASE, STRANGER], NAMESPACES).rules()


def chain(text: str, address: str, side: str = "daddr") -> list[str]:
    """The lines of the chain for a pod, without the one for itself."""
    (jump,) = [
        line for line in text.splitlines() if line.strip().startswith(f"ip {side} {address} jump")
    ]
    name = jump.split()[-1]
    _, _, rest = text.partition(f"chain {name} {{\n")
    return [line.strip() for line in rest.partition("\n}")[0].splitlines()][1:]


def test_without_a_policy_nothing_is_closed() -> None:
    assert "drop" not in rules()


def test_a_policy_without_rules_closes_the_pods_that_it_selects() -> None:
    text = rules(policy(podSelector={"matchLabels": {"app": "database"}}, ingress=[]))
    assert chain(text, "10.244.1.3") == ["drop"]
    assert "10.244.1.2 jump" not in text


def test_pods_of_the_own_namespace_are_selected_by_their_labels() -> None:
    peer = {"podSelector": {"matchLabels": {"app": "web"}}}
    text = rules(policy(ingress=[{"from": [peer], "ports": [{"port": 5432}]}]))
    expected = ["ip saddr { 10.244.1.2 } tcp dport 5432 return", "drop"]
    assert chain(text, "10.244.1.3") == expected


def test_a_namespace_selector_opens_other_namespaces() -> None:
    peer = {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}}
    text = rules(policy(ingress=[{"from": [peer]}]))
    (line, _) = chain(text, "10.244.1.3")
    assert line == "ip saddr { 10.244.1.2, 10.244.1.3, 10.244.1.4 } return"


def test_blocks_of_addresses_ranges_and_named_ports() -> None:
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.244.1.4/32"]}}
    ports = [{"port": "web"}, {"protocol": "UDP", "port": 100, "endPort": 200}]
    text = rules(policy(ingress=[{"from": [block], "ports": ports}]))
    source = "ip saddr 10.0.0.0/8 ip saddr != { 10.244.1.4/32 }"
    assert chain(text, "10.244.1.3") == [
        f"{source} tcp dport 8080 return",
        f"{source} udp dport 100-200 return",
        "drop",
    ]


def test_what_a_pod_may_call_is_closed_as_well_if_the_policy_says_so() -> None:
    dns = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    open_dns = {"to": [dns], "ports": [{"protocol": "UDP", "port": 53}]}
    text = rules(policy(policyTypes=["Egress"], egress=[open_dns]))
    assert chain(text, "10.244.1.2", "saddr") == [
        "ip daddr { 10.244.0.1 } udp dport 53 return",
        "drop",
    ]


@pytest.mark.parametrize(
    ("operator", "values", "selected"),
    [
        ("In", ["web"], True),
        ("NotIn", ["web"], False),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
    ],
)
def test_selectors(operator: str, values: list[str] | None, selected: bool) -> None:
    expression = {"key": "app", "operator": operator, "values": values}
    assert matches({"matchExpressions": [expression]}, {"app": "web"}) is selected


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs util-linux")
def test_nft_takes_the_rules() -> None:
    peer = {"podSelector": {}}
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
    ports = [{"port": "web"}, {"protocol": "UDP"}, {"port": 1, "endPort": 9}]
    text = rules(policy(ingress=[{"from": [peer, block], "ports": ports}], egress=[{}]))
    command = [*ENTER, str(find_nft() or fetch_nft()), "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
