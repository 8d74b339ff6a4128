"""Which workload answers HTTP: the one that the Ingress leads to, and not the one named so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runbook_lib.base import ParameterError
from runbook_lib.chapters.shared import leading
from runbook_lib.chapters.shared.leading import Lead
from runbook_lib.cluster import Object, name_of, reference
from runbook_lib.init.looking import Facts, Key, text_of
from runbook_lib.mesh.policy import Protocol, declared, service_targets, spec_of, target
from runbook_lib.mesh.templates import Template

_KINDS = ("StatefulSet", "Deployment")
"""What the parameters take as the web workload."""

_HTTP_KINDS = ("Ingress", "HTTPRoute", "IngressRoute", "HTTPProxy", "VirtualServer")
"""What routes HTTP alone; what leads to a Service otherwise may carry anything."""

_PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
_USUAL = (80, 8080)


@dataclass(frozen=True)
class Way:
    """A way by which requests from outside come to a workload.

    Attributes:
        key: The workload.
        service: The Service on the way.
        entry: The entry of that Service's ports.
        port: The container's port.
        lead: What leads to the Service; None where the Service itself is open to the outside.
        http: Whether it is known to carry HTTP.
    """

    key: Key
    service: Object
    entry: Object
    port: int
    lead: Lead | None
    http: bool

    @property
    def text(self) -> str:
        """The way in words."""
        by = reference(self.service)
        if self.lead is None:
            by += f" ({spec_of(self.service).get('type')})"
        else:
            by = f"{reference(self.lead.item)} leads to {by}"
        return f"{by}, and port {self.entry['port']} of that to container port {self.port}"


class SeveralWorkloads(ParameterError):
    """Which workload is the web part cannot be told.

    Attributes:
        candidates: Those that there are, as `Kind/name`.
    """

    def __init__(self, cause: str, candidates: Sequence[str]) -> None:
        self.candidates = tuple(candidates)
        super().__init__(cause, "name the one that users open: --workload Kind/name")


@dataclass(frozen=True)
class Web:
    """The web workload.

    Attributes:
        key: Its kind and name.
        made: What its pods are made of.
        port: The container's port.
        service: Its Service.
        way: How requests from outside come to it; None if no such way was found.
    """

    key: Key
    made: Template
    port: int
    service: Object
    way: Way | None

    @property
    def path(self) -> tuple[str, str]:
        """A page that changes nothing, and where it was found."""
        for container in self.made.pod["spec"]["containers"]:
            for name in _PROBES:
                found = (container.get(name) or {}).get("httpGet") or {}
                if found.get("path") and _number(found.get("port"), self.made) == self.port:
                    return found["path"], f"the {name} of container {container['name']} asks it"
        return "/", "no probe of the container names another page"


def find(facts: Facts, desired: str | None = None) -> Web:
    """Return the web workload.

    Args:
        facts: What there is.
        desired: The workload that a person has named, as `Kind/name`.

    Raises:
        SeveralWorkloads: None was named, and several could be it, or none is led to.
        ParameterError: The workload has no Service or no port, or is of a kind that cannot be one.
    """
    every = list(_ways(facts))
    routed = [way for way in every if way.lead and way.lead.item["kind"] in _HTTP_KINDS]
    found = routed or [way for way in every if way.http]
    key = _named(facts, desired) if desired else _only(facts, found)
    own = [way for way in found if way.key == key] or [
        way for way in every if way.key == key and way.http
    ]
    way = own[0] if own else None
    made = facts.templates[key]
    port = way.port if way else _port(facts, key)
    return Web(key, made, port, _service(facts, key, port, own), way)


def http_ports(made: Template) -> set[int]:
    """Return the container ports that a workload's own probes ask by HTTP."""
    numbers = {
        _number(((container.get(name) or {}).get("httpGet") or {}).get("port"), made)
        for container in made.pod["spec"]["containers"]
        for name in _PROBES
    }
    return {number for number in numbers if number is not None}


def _only(facts: Facts, found: Sequence[Way]) -> Key:
    keys = list(dict.fromkeys(way.key for way in found))
    if len(keys) == 1 and keys[0][0] in _KINDS:
        return keys[0]
    namespace = facts.context.parameters.application.namespace
    if not keys:
        known = [text_of(key) for key in facts.templates if key[0] in _KINDS]
        raise SeveralWorkloads(
            f"no Ingress, route or open Service leads to an HTTP port of a workload in {namespace};"
            f" there are: {', '.join(known) or 'no workloads'}",
            known,
        )
    ways = "".join(f"\n  {text_of(way.key)}: {way.text}" for way in found)
    if len(keys) == 1:
        raise _unfit(keys[0])
    raise SeveralWorkloads(
        f"requests from outside come to several workloads of {namespace}:{ways}",
        [text_of(key) for key in keys],
    )


def _named(facts: Facts, desired: str) -> Key:
    kind, _, name = desired.partition("/")
    if (kind, name) not in facts.templates:
        known = ", ".join(map(text_of, facts.templates)) or "none"
        namespace = facts.context.parameters.application.namespace
        raise ParameterError(
            f"there is no workload {desired} in {namespace} that could get a sidecar",
            f"choose one of: {known}",
        )
    if kind not in _KINDS:
        raise _unfit((kind, name))
    return kind, name


def _unfit(key: Key) -> ParameterError:
    return ParameterError(
        f"{text_of(key)} answers requests from outside, and it is no {' or '.join(_KINDS)}",
        "the runbook cannot restart it; name another workload: --workload Kind/name",
    )


def _ways(facts: Facts) -> Iterator[Way]:
    leads = list(leading.leads(facts.context))
    for service in facts.services:
        for entry in spec_of(service).get("ports") or []:
            own = [lead for lead in leads if lead.service == name_of(service) and lead.means(entry)]
            ways: list[Lead | None] = list(own)
            if spec_of(service).get("type") in ("LoadBalancer", "NodePort"):
                ways.append(None)
            for key, made in facts.behind(service) if ways else ():
                port = target(entry, made.pod)
                if port is None:
                    continue
                http = _is_http(entry) or port in http_ports(made)
                for lead in ways:
                    yield Way(key, service, entry, port, lead, http)


def _port(facts: Facts, key: Key) -> int:
    """Return the HTTP port of a workload that nothing outside leads to."""
    made = facts.templates[key]
    probed = http_ports(made)
    through = {
        number: number in probed or _is_http(entry)
        for service in facts.services
        if key in dict(facts.behind(service))
        for entry in spec_of(service).get("ports") or []
        if (number := target(entry, made.pod)) is not None
    }
    asked = sorted(number for number, http in through.items() if http)
    if len(asked) == 1:
        return asked[0]
    raise ParameterError(
        f"{text_of(key)} is not reached from outside, and which of its ports takes HTTP cannot be "
        f"told; Services lead to: {', '.join(map(str, sorted(through))) or 'none'}",
        "have an Ingress lead to it first, or write the file by hand: cluster.example.yaml",
    )


def _is_http(entry: Object) -> bool:
    """Whether a Service's port takes HTTP by what is declared, or by its number."""
    return declared(entry)[0] is Protocol.HTTP or entry["port"] in _USUAL


def _service(facts: Facts, key: Key, port: int, own: Sequence[Way]) -> Object:
    """Return the web Service: one with an address of its own first, as callers in the mesh use."""
    fitting = [
        service
        for service in facts.services
        if key in dict(facts.behind(service))
        and port in {number for _, number in service_targets(service, facts.templates[key].pod)}
    ]
    if not fitting:
        raise ParameterError(
            f"no Service leads to port {port} of {text_of(key)}",
            "make one: callers in the mesh are told by it how to reach the web part",
        )
    on_the_way = {name_of(way.service) for way in own}
    return min(
        fitting,
        key=lambda each: (
            spec_of(each).get("clusterIP") == "None",
            name_of(each) not in on_the_way,
            name_of(each) != key[1],
            name_of(each),
        ),
    )


def _number(port: int | str | None, made: Template) -> int | None:
    """Return a port of a probe as a number: they may name one that the container declares."""
    if port is None:
        return None
    return target({"port": port, "targetPort": port}, made.pod)
