"""NetworkPolicies, enforced by rules of nftables on the node.

Every packet between pods is forwarded there, after kube-proxy has put a pod's address in place of
a Service's; packets from a pod to the node itself arrive there. What the node itself sends, as a
kubelet's probes, is allowed by Kubernetes. Rules:
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runbook_lib.lab.foundation.addresses import NODE_IP
from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.process import DIE_WITH_PARENT

Object = dict[str, Any]

log = logging.getLogger(__name__)

TABLE = "lab_policies"
_POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
_SETTLING = 0.05
"""Seconds in which changes are collected: a rollout is many."""

# DNS is the node's, where other clusters have pods that policies select.
_DNS: Object = {
    "metadata": {"name": "dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
    "spec": {"containers": []},
    "status": {"podIP": NODE_IP},
}


class Policies:
    """What decides who may talk to whom.

    Args:
        policies: NetworkPolicies.
        pods: All pods.
        namespaces: Labels of each namespace.
    """

    def __init__(
        self,
        policies: Iterable[Object],
        pods: Iterable[Object],
        namespaces: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._policies = list(policies)
        self._pods = [_DNS, *(each for each in pods if _has_address(each))]
        self._namespaces = namespaces

    def rules(self) -> str:
        """A whole table for `nft -f`, in place of the one before."""
        jumps, chains = [], []
        for number, pod in enumerate(self._pods):
            for direction, ours in (("Egress", "saddr"), ("Ingress", "daddr")):
                policies = [each for each in self._policies if _selects(each, pod, direction)]
                if not policies:
                    continue
                chain, address = f"{direction.lower()}_{number}", pod["status"]["podIP"]
                jumps.append(f"ip {ours} {address} jump {chain}")
                lines = [f"ip saddr {address} ip daddr {address} return"]
                lines += [f"{match} return" for match in self._allowed(policies, pod, direction)]
                chains.append(_chain(chain, [*lines, "drop"]))
        # Egress before ingress: a chain that allows returns here, one that does not drops.
        jumps.sort(key=lambda each: "egress" not in each)
        pods = _chain("pods", ["ct state established,related return", *jumps])
        hooks = [
            _chain(f"on_{hook}", [f"type filter hook {hook} priority filter;", "jump pods"])
            for hook in ("forward", "input")
        ]
        body = "".join([*chains, pods, *hooks])
        return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{body}}}\n"

    def _allowed(self, policies: list[Object], pod: Object, direction: str) -> Iterator[str]:
        """Matches of the packets that some policy allows; an empty one is of all packets."""
        section, peers = direction.lower(), "from" if direction == "Ingress" else "to"
        for policy in policies:
            for rule in policy["spec"].get(section) or []:
                others = [
                    each
                    for peer in rule.get(peers) or [{}]
                    for each in self._peer(peer, policy, "saddr" if peers == "from" else "daddr")
                ]
                reached = [pod] if direction == "Ingress" else self._pods
                for other in others:
                    for port in _ports(rule.get("ports") or [], reached):
                        yield f"{other} {port}".strip()

    def _peer(self, peer: Object, policy: Object, side: str) -> Iterator[str]:
        if not peer:
            yield ""
        elif "ipBlock" in peer:
            block = peer["ipBlock"]
            but = ", ".join(block.get("except") or [])
            yield f"ip {side} {block['cidr']}" + (f" ip {side} != {{ {but} }}" if but else "")
        else:
            own = policy["metadata"]["namespace"]
            found = [
                pod["status"]["podIP"]
                for pod in self._pods
                if self._in_namespace(pod, peer.get("namespaceSelector"), own)
                and matches(peer.get("podSelector") or {}, pod["metadata"].get("labels") or {})
            ]
            if found:
                yield f"ip {side} {{ {', '.join(sorted(set(found)))} }}"

    def _in_namespace(self, pod: Object, selector: Object | None, own: str) -> bool:
        namespace = pod["metadata"]["namespace"]
        if selector is None:
            return bool(namespace == own)
        return matches(selector, self._namespaces.get(namespace, {}))


def _has_address(pod: Object) -> bool:
    """Whether packets are a pod's own: those of the node's network are the node's."""
    return bool(pod.get("status", {}).get("podIP")) and not pod["spec"].get("hostNetwork")


def _selects(policy: Object, pod: Object, direction: str) -> bool:
    spec = policy["spec"]
    default = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return (
        direction in (spec.get("policyTypes") or default)
        and policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and pod is not _DNS
        and matches(spec.get("podSelector") or {}, pod["metadata"].get("labels") or {})
    )


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects something with these labels."""
    tests: dict[str, Callable[[str, list[str]], bool]] = {
        "In": lambda key, values: labels.get(key) in values,
        "NotIn": lambda key, values: labels.get(key) not in values,
        "Exists": lambda key, _: key in labels,
        "DoesNotExist": lambda key, _: key not in labels,
    }
    return (selector.get("matchLabels") or {}).items() <= labels.items() and all(
        tests[each["operator"]](each["key"], each.get("values") or [])
        for each in selector.get("matchExpressions") or []
    )


def _ports(ports: list[Object], reached: list[Object]) -> Iterator[str]:
    if not ports:
        yield ""
    for each in ports:
        protocol = each.get("protocol", "TCP").lower()
        port = each.get("port")
        if port is None:
            yield f"meta l4proto {protocol}"
        elif isinstance(port, int):
            end = each.get("endPort")
            yield f"{protocol} dport {port}-{end}" if end else f"{protocol} dport {port}"
        else:
            for number in sorted(_named(port, reached)):
                yield f"{protocol} dport {number}"


def _named(name: str, pods: list[Object]) -> set[int]:
    return {
        port["containerPort"]
        for pod in pods
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or []
        if port.get("name") == name
    }


def _chain(name: str, lines: list[str]) -> str:
    return f"chain {name} {{\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


async def enforce_policies(api: Api, nft: Path) -> None:
    """Keep the rules equal to the policies for ever."""
    kinds = ("/api/v1/pods", "/api/v1/namespaces", _POLICIES)
    known: dict[str, dict[str, Object]] = {path: {} for path in kinds}
    changed = asyncio.Event()

    async def follow(path: str) -> None:
        async for event, item in api.watch(path):
            if event == "SYNC":
                known[path] = {each["metadata"]["uid"]: each for each in item["items"]}
            elif event == "DELETED":
                known[path].pop(item["metadata"]["uid"], None)
            else:
                known[path][item["metadata"]["uid"]] = item
            changed.set()

    async def enforce() -> None:
        loaded = ""
        while True:
            await changed.wait()
            await asyncio.sleep(_SETTLING)
            changed.clear()
            namespaces = {
                each["metadata"]["name"]: each["metadata"].get("labels") or {}
                for each in known["/api/v1/namespaces"].values()
            }
            pods = known["/api/v1/pods"].values()
            rules = Policies(known[_POLICIES].values(), pods, namespaces).rules()
            if rules != loaded:
                await _load(nft, rules)
                loaded = rules

    await asyncio.gather(*map(follow, kinds), enforce())


async def _load(nft: Path, rules: str) -> None:
    child = await asyncio.create_subprocess_exec(
        *(*DIE_WITH_PARENT, nft, "-f", "-"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await child.communicate(rules.encode())
    if child.returncode:
        log.error("nft refuses the rules of NetworkPolicies: %s", said.decode(errors="replace"))
