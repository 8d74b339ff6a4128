"""Changes that people make every day and that break nothing: a diagnosis says nothing of them."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from runbook_lib.cluster.objects import Object, name_of
from tests.faults.site import NETWORKING_API, SECURITY
from tests.labs import Lab

SEED = int(os.environ.get("RUNBOOK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
"""Decides what is changed; it is printed, so that a failure can be repeated."""

ELSEWHERE = "default"
"""A namespace of other teams."""

_MARK = "harmless.example.com/change"


@contextmanager
def changed(lab: Lab, namespace: str, number: int = 20, seed: int = SEED) -> Iterator[list[str]]:
    """Make random harmless changes to an application, and take them back.

    Args:
        lab: Where.
        namespace: The application's.
        number: How many.
        seed: Decides which.
    """
    chance = random.Random(seed)
    live = json.loads(_kubectl(lab, "-n", namespace, "get", _KINDS, "--output", "json"))["items"]
    made: list[Object] = []
    marked: list[tuple[str, ...]] = []
    said = []
    for at in range(number):
        if chance.random() < 0.4:
            item = chance.choice(live)
            verb = chance.choice(("label", "annotate"))
            what = (item["kind"].lower(), name_of(item))
            marked.append((verb, *what))
            _kubectl(lab, "-n", namespace, verb, *what, f"{_MARK}=c{at}", "--overwrite")
            said.append(f"{verb} {'/'.join(what)}")
        else:
            new = chance.choice(_MAKERS)(
                f"harmless-{at}", namespace, chance.choice(_selectors(live))
            )
            made.append(new)
            said.append(f"{new['kind']} {new['metadata']['namespace']}/{name_of(new)}")
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    _kubectl(lab, "create", "--filename", "-", stdin=text)
    try:
        yield said
    finally:
        _kubectl(lab, "delete", "--wait", "--filename", "-", stdin=text)
        for verb, *what in dict.fromkeys(marked):
            _kubectl(lab, "-n", namespace, verb, *what, f"{_MARK}-")


_KINDS = "services,statefulsets,deployments,pods,configmaps,ingresses"


def _kubectl(lab: Lab, *words: str, **more: Any) -> str:
    return lab.run("kubectl", *words, **more)


def _selectors(live: list[Object]) -> list[tuple[Object, list[Object]]]:
    """Return selector and ports of the Services that are there already."""
    services = [i for i in live if i["kind"] == "Service" and i["spec"].get("selector")]
    return [(each["spec"]["selector"], each["spec"]["ports"]) for each in services]


_Selected = tuple[Object, list[Object]]


def _another_service(name: str, namespace: str, selected: _Selected) -> Object:
    """One more way to the same pods, under the ports' own names; the older ones decide."""
    selector, ports = selected
    kept = [{k: p[k] for k in ("name", "port", "targetPort") if k in p} for p in ports]
    headless = {"clusterIP": "None"} if len(name) % 2 else {}
    return _of("v1", "Service", name, namespace, selector=selector, ports=kept, **headless)


def _service_of_nothing(name: str, namespace: str, _selected: _Selected) -> Object:
    """A Service whose endpoints somebody else writes."""
    return _of("v1", "Service", name, namespace, ports=[{"name": "http", "port": 8888}])


def _alias(name: str, namespace: str, _selected: _Selected) -> Object:
    return _of("v1", "Service", name, namespace, type="ExternalName", externalName="example.com")


def _peer_authentication(name: str, _namespace: str, selected: _Selected) -> Object:
    selector = {"matchLabels": selected[0]}
    spec = {"selector": selector, "mtls": {"mode": "STRICT"}}
    return _of(SECURITY, "PeerAuthentication", name, ELSEWHERE, **spec)


def _authorization_policy(name: str, _namespace: str, selected: _Selected) -> Object:
    """It denies everything at pods that carry the same labels, in another namespace."""
    spec = {"selector": {"matchLabels": selected[0]}, "action": "DENY", "rules": [{}]}
    return _of(SECURITY, "AuthorizationPolicy", name, ELSEWHERE, **spec)


def _destination_rule(name: str, _namespace: str, _selected: _Selected) -> Object:
    spec = {"host": name, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    return _of(NETWORKING_API, "DestinationRule", name, ELSEWHERE, **spec)


def _network_policy(name: str, namespace: str, selected: _Selected) -> Object:
    """It lets everything through, to the pods and from them."""
    spec = {"podSelector": {"matchLabels": selected[0]}, "ingress": [{}], "egress": [{}]}
    api = "networking.k8s.io/v1"
    return _of(api, "NetworkPolicy", name, namespace, policyTypes=["Ingress", "Egress"], **spec)


def _network_policy_elsewhere(name: str, _namespace: str, _selected: _Selected) -> Object:
    spec: Object = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return _of("networking.k8s.io/v1", "NetworkPolicy", name, ELSEWHERE, **spec)


def _disruption_budget(name: str, namespace: str, selected: _Selected) -> Object:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": selected[0]}}
    return _of("policy/v1", "PodDisruptionBudget", name, namespace, **spec)


def _quota(name: str, namespace: str, _selected: _Selected) -> Object:
    return _of("v1", "ResourceQuota", name, namespace, hard={"pods": "500"})


def _config_map(name: str, namespace: str, _selected: _Selected) -> Object:
    item = _of("v1", "ConfigMap", name, namespace)
    return {**{k: v for k, v in item.items() if k != "spec"}, "data": {"key": "value"}}


_MAKERS: tuple[Callable[[str, str, _Selected], Object], ...] = (
    *(_another_service, _service_of_nothing, _alias),
    *(_peer_authentication, _authorization_policy, _destination_rule),
    *(_network_policy, _network_policy_elsewhere, _disruption_budget, _quota, _config_map),
)


def _of(api: str, kind: str, name: str, namespace: str, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}
