"""Who is depended on: found in what the workloads are given, and said with the place it stands in.

Secrets are not read, so an address that stands in one alone is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from runbook_lib.cluster import WORKLOADS, name_of
from runbook_lib.init.looking import Facts, Key, text_of
from runbook_lib.mesh.policy import service_targets
from runbook_lib.mesh.templates import Template

_STORES = {
    1433: "SQL Server",
    1521: "Oracle",
    3306: "MySQL",
    5432: "PostgreSQL",
    5672: "RabbitMQ",
    6379: "Redis",
    11211: "memcached",
    27017: "MongoDB",
}
"""Ports that IANA or their makers give to what others keep data in."""

_ENDING = ("Job", "Pod")
"""What keeps pods that no one restarts: they end by themselves, or come back for no one."""

Needs = Mapping[Key, Mapping[Key, str]]
"""What each workload depends on, each with where that is said."""


@dataclass(frozen=True)
class Entry:
    """A workload of the restart order.

    Attributes:
        workload: As `Kind/name`.
        reason: Why it stands where it does.
    """

    workload: str
    reason: str


@dataclass(frozen=True)
class Order:
    """In which order workloads are restarted, and what is not.

    Attributes:
        entries: Who is depended on first.
        uncertain: Why the order is a guess; empty if it is none.
        owned: What keeps pods and is no workload that the runbook restarts, such as an operator's.
        outside: Services that lead out of the namespace, each with where and who names it.
    """

    entries: tuple[Entry, ...]
    uncertain: str = ""
    owned: tuple[Entry, ...] = ()
    outside: tuple[str, ...] = ()


def of(facts: Facts, web: Key) -> Order:
    """Return the restart order.

    Args:
        facts: What there is.
        web: The web workload.
    """
    named = {key: dict(_named(facts, made)) for key, made in facts.templates.items()}
    needs = {key: _needs(facts, key, named[key]) for key in facts.templates}
    stores = _stores(facts, web, needs)
    needs[web] = {**stores, **needs[web]}
    uncertain = ""
    try:
        sorted_keys = list(
            TopologicalSorter({k: sorted(needs[k]) for k in sorted(needs)}).static_order()
        )
    except CycleError as error:
        circle = " → ".join(map(text_of, error.args[1]))
        uncertain = f"they depend on each other in a circle ({circle})"
        sorted_keys = sorted(needs)
    before = _reached(needs, web)
    order = [
        *(key for key in sorted_keys if key in before and key != web),
        web,
        *(key for key in sorted_keys if key not in before and key != web),
    ]
    entries = {key: Entry(text_of(key), _reason(key, web, needs, before)) for key in order}
    return Order(
        tuple(entries[key] for key in order if key[0] in WORKLOADS),
        uncertain,
        tuple(entries[key] for key in order if key[0] not in (*WORKLOADS, *_ENDING)),
        tuple(_outside(facts, named)),
    )


def _reached(needs: Needs, start: Key) -> set[Key]:
    found: set[Key] = set()
    ahead = [start]
    while ahead:
        key = ahead.pop()
        if key not in found:
            found.add(key)
            ahead += needs.get(key, {})
    return found


def _reason(key: Key, web: Key, needs: Needs, before: set[Key]) -> str:
    users = [f"{text_of(user)} needs it: {on[key]}" for user, on in needs.items() if key in on]
    if key == web:
        on = ", ".join(map(text_of, needs[web]))
        said = f"the web workload, after what it needs ({on})" if on else ""
        return said or "the web workload; nothing in this namespace was found that it needs"
    if key in before:
        return "; ".join(users)
    if web in needs[key]:
        return f"needs the web workload: {needs[key][web]}"
    return "; ".join(users) or "nothing was found that depends on it"


def _needs(facts: Facts, key: Key, named: Mapping[str, str]) -> dict[Key, str]:
    return {
        server: f"{where} names its Service {name_of(service)}"
        for service in facts.services
        if (where := named.get(name_of(service)))
        for server, _ in facts.behind(service)
        if server != key
    }


def _stores(facts: Facts, web: Key, needs: Needs) -> dict[Key, str]:
    """Return what keeps data by its port, where nothing says who uses it."""
    used = {server for on in needs.values() for server in on}
    found = {}
    for key, made in facts.templates.items():
        ports = {
            number
            for service in facts.services
            if key in dict(facts.behind(service))
            for _, number in service_targets(service, made.pod)
        }
        known = [f"{port}, the port of {_STORES[port]}" for port in sorted(ports & {*_STORES})]
        if known and key not in used and key != web:
            found[key] = f"it listens on {known[0]}, and nothing else says who uses it (a guess)"
    return found


def _outside(facts: Facts, named: Mapping[Key, Mapping[str, str]]) -> Iterator[str]:
    for service in facts.services:
        to = facts.outside(service)
        if to:
            name = name_of(service)
            users = [f"{text_of(key)} by {by[name]}" for key, by in named.items() if name in by]
            used = f", used by {', '.join(users)}" if users else ""
            yield f"Service {name} leads to {to}{used}"


def _named(facts: Facts, made: Template) -> Iterator[tuple[str, str]]:
    """Yield the Services that a pod's settings name, each with where."""
    texts = list(_texts(facts, made.pod["spec"]))
    namespace = facts.context.parameters.application.namespace
    for service in facts.services:
        sign = _host(name_of(service), namespace)
        where = next((where for where, text in texts if sign.search(text)), None)
        if where is not None:
            yield name_of(service), where


def _host(name: str, namespace: str) -> re.Pattern[str]:
    """Match a Service's name where a host stands, alone or with its namespace behind it."""
    return re.compile(
        rf"(?:^|[\s\"'=:/@,(\[])(?:[a-z0-9-]+\.)?{re.escape(name)}"
        rf"(?:\.{re.escape(namespace)}(?:\.svc(?:\.[a-z0-9.-]+)?)?)?(?=$|[\s\"':/,;)\]?])"
    )


def _texts(facts: Facts, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for container in [*spec["containers"], *(spec.get("initContainers") or [])]:
        where = f"of container {container['name']}"
        for entry in container.get("env") or []:
            yield f"env {entry['name']} {where}", str(entry.get("value") or "")
        for key in ("command", "args"):
            yield f"{key} {where}", " ".join(map(str, container.get(key) or []))
    for name in sorted(_config_names(spec)):
        for key, text in ((facts.config.get(name) or {}).get("data") or {}).items():
            yield f"{key} in ConfigMap {name}", text


def _config_names(spec: Mapping[str, Any]) -> set[str]:
    found = {
        ref.get("name")
        for container in [*spec["containers"], *(spec.get("initContainers") or [])]
        for ref in (
            *(each.get("configMapRef") or {} for each in container.get("envFrom") or []),
            *(
                (each.get("valueFrom") or {}).get("configMapKeyRef") or {}
                for each in container.get("env") or []
            ),
        )
    }
    for volume in spec.get("volumes") or []:
        sources: Sequence[Any] = (volume.get("projected") or {}).get("sources") or []
        for each in (volume, *sources):
            found.add((each.get("configMap") or {}).get("name"))
    return {name for name in found if name}
