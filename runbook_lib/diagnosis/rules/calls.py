"""Rules about calls inside the mesh: what callers send, and what servers take.

`istioctl analyze` has no analyzer for any of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from runbook_lib.cluster import Object, has_sidecar, labels_of, name_of, namespace_of, reference
from runbook_lib.diagnosis import Cause, Observation, registry
from runbook_lib.diagnosis.rules.membership import NOT_INJECTED
from runbook_lib.mesh import traffic
from runbook_lib.mesh.policy import (
    Called,
    Caller,
    Choice,
    Connection,
    Reason,
    Sent,
    Server,
    called,
    choose,
    cluster_ip,
    host_of,
    meet,
    sent_to_port,
    serves,
    short_names,
    spec_of,
    target,
    why_not_host,
    why_not_inbound,
    why_not_outbound,
)

_TLS = (
    "https://istio.io/latest/docs/ops/configuration/traffic-management/tls-configuration/#sidecars"
)
_RULES = "https://istio.io/latest/docs/reference/config/networking/destination-rule/"
_ANNOTATIONS = "https://istio.io/latest/docs/reference/config/annotations/"

_rule = partial(registry.rule, registry.Area.MUTUAL_TLS, "04_mutual_tls")

_NEEDS = ("services", "pods", "policies", "rules")
_USES = ("entries", "endpoints")
_SERVER_WRONG = (
    *(*NOT_INJECTED, "pod-without-sidecar", "target-port-wrong"),
    *("exception-service-port", "exception-other-port", "exception-selects-nothing"),
    *("exception-without-selector", "exception-elsewhere", "exception-shadowed"),
    *("exception-is-strict", "exception-missing"),
)
"""What changes how a server is called; mended, a rule for its callers may fit again."""


@dataclass(frozen=True)
class _Destination:
    """Something that pods of the application may call.

    Attributes:
        name: Its name for people.
        to: What DestinationRules know it by.
        address: Its own IP address; empty if it has none.
        ports: The servers behind each port that is called.
        behind: The names of the pods behind it: these are not looked at as its callers.
    """

    name: str
    to: Called
    address: str
    ports: Mapping[int, Sequence[Server]]
    behind: frozenset[str] = frozenset()


@_rule(order=330, needs=_NEEDS, uses=_USES, explained_by=_SERVER_WRONG)
def destination_rule_conflict(seen: Observation) -> Iterator[Cause]:
    """A DestinationRule makes callers do what the server refuses."""
    for destination in _destinations(seen):
        for port, servers in destination.ports.items():
            for callers, choice in _told(seen, destination, port):
                sent = sent_to_port(choice.rule, port)
                met = [meet(sent.mode, server) for server in servers]
                refused = [why for outcome, why in met if outcome is Connection.REFUSED]
                if refused and sent.reason is not None:
                    finding = _calls_fail(
                        seen, sent.reason, sent.mode, refused[0], destination, port
                    )
                    evidence = *finding.evidence, *_passed_over(choice, destination)
                    yield replace(finding, evidence=evidence, breaks=frozenset(callers))


@_rule(order=332, needs=("services", "rules"))
def destination_rule_without_effect(seen: Observation) -> Iterator[Cause]:
    """A DestinationRule is meant for a Service, and is for no host that sidecars know."""
    for rule in seen.rules:
        for service in seen.services:
            reason = _why_for_nothing(rule, service)
            if reason is not None:
                yield Cause(
                    reference(rule),
                    f"a DestinationRule is for no host that sidecars know: {reason.why}",
                    f"the rule has no effect on calls to {name_of(service)}",
                    f"kubectl --namespace {namespace_of(rule)} edit destinationrule "
                    f"{name_of(rule)}; or delete it",
                    (reason.text,),
                    link=_RULES,
                )


@_rule(order=334, needs=_NEEDS, explained_by=_SERVER_WRONG)
def inbound_not_captured(seen: Observation) -> Iterator[Cause]:
    """Connections to a port go past the sidecar, so no policy holds and no mutual TLS is spoken."""
    if (past := _past_web(seen)) and seen.own_authorization is not None:
        through = [answer.text for answer in seen.let_through]
        yield _past(
            f"no policy holds on the web port: {', '.join(through) or 'every method gets through'}",
            past,
            "connections to the web port go past its sidecar",
            outside=bool(seen.let_through),
        )
    for destination in _destinations(seen):
        for port, servers in destination.ports.items():
            past = next((server.past for server in servers if server.past), None)
            callers = [
                name
                for name, choice in _callers(seen, destination, port)
                if any(_speaks_past(sent_to_port(choice.rule, port), server) for server in servers)
            ]
            if past is not None and callers:
                finding = _past(
                    f"pods in the mesh that call {destination.name}:{port} get 503 (flags UF, UC): "
                    "the container gets mutual TLS, which it does not speak",
                    past,
                    f"calls to {destination.name}:{port} go past the server's sidecar",
                )
                yield replace(finding, breaks=frozenset(filter(None, callers)))


@_rule(order=336, needs=_NEEDS, uses=_USES, explained_by=_SERVER_WRONG)
def outbound_not_captured(seen: Observation) -> Iterator[Cause]:
    """A pod's calls go past its sidecar, and so as plaintext, to a server that refuses that."""
    for destination in _destinations(seen):
        for port, servers in destination.ports.items():
            refused = [
                why for s in servers for outcome, why in [meet("DISABLE", s)] if _no(outcome)
            ]
            for pod in seen.in_mesh if refused else ():
                past = why_not_outbound(pod, port, destination.address)
                if past is not None and name_of(pod) not in destination.behind:
                    finding = _past(
                        f"{name_of(pod)} gets no answer from {destination.name}:{port}",
                        past,
                        f"its calls go past its sidecar, as plaintext, and {refused[0]}",
                    )
                    yield replace(finding, breaks=frozenset((name_of(pod),)))


def _told(
    seen: Observation, destination: _Destination, port: int
) -> Iterator[tuple[list[str], Choice]]:
    """Yield the rules by which callers go that tell them what to send to a port, with callers."""
    told: dict[str, tuple[list[str], Choice]] = {}
    for name, choice in _callers(seen, destination, port):
        if reason := sent_to_port(choice.rule, port).reason:
            names, _ = told.setdefault(reason.text, ([], choice))
            names += [name] if name else []
    yield from told.values()


def _callers(
    seen: Observation, destination: _Destination, port: int
) -> Iterator[tuple[str, Choice]]:
    """Yield the pods whose sidecars call a port, by name, and the rule that each goes by.

    If none is there yet, the answer is for any that may come, and its name is empty.
    """
    pods = [pod for pod in seen.in_mesh if name_of(pod) not in destination.behind]
    captured = [p for p in pods if why_not_outbound(p, port, destination.address) is None]
    named = [(name_of(pod), labels_of(pod)) for pod in captured]
    for name, labels in named if pods else [("", {})]:
        parameters = seen.parameters
        caller = Caller(parameters.application.namespace, labels, parameters.istio.namespace)
        yield name, choose(seen.rules, destination.to, caller)


def _passed_over(choice: Choice, destination: _Destination) -> Iterator[str]:
    """Yield why other rules for the same host do not hold: one may once this one is gone."""
    for reason in choice.passed_over:
        if why_not_host(reason.item, destination.to.host) is None:
            yield f"passed over: {reason.text}; {reason.why}"


def _destinations(seen: Observation) -> Iterator[_Destination]:
    for service in seen.services:
        if spec_of(service).get("type") == "ExternalName":
            continue  # an alias; rules are for what it stands for
        behind = _behind(seen, service)
        ports = {
            port["port"]: list(_servers(seen, behind, port))
            for port in spec_of(service).get("ports") or []
        }
        names = frozenset(name_of(pod) for pod in behind if pod is not None)
        yield _Destination(name_of(service), called(service), cluster_ip(service), ports, names)
    for entry in seen.entries:
        spec, namespace = spec_of(entry), namespace_of(entry)
        ours = seen.parameters.application.namespace
        visible = {"*", ours, "."} if namespace == ours else {"*", ours}
        if not visible & {*(spec.get("exportTo") or ["*"])}:
            continue
        if spec.get("location") == "MESH_INTERNAL":
            continue  # what is behind it may have sidecars, elsewhere
        for host in spec.get("hosts") or []:
            outside = {port["number"]: [Server(sidecar=False)] for port in spec.get("ports") or []}
            yield _Destination(host, Called(host, namespace), "", outside)


def _behind(seen: Observation, service: Object) -> list[Object | None]:
    """Return the pods behind a Service; None for an address that is no pod's."""
    if spec_of(service).get("selector"):
        return [pod for pod in seen.pods if serves(service, pod)]
    by_address = {(pod.get("status") or {}).get("podIP"): pod for pod in seen.pods}
    addresses = [
        address
        for each in seen.endpoints
        if labels_of(each).get("kubernetes.io/service-name") == name_of(service)
        for endpoint in each.get("endpoints") or []
        for address in endpoint.get("addresses") or []
    ]
    return [by_address.get(address) for address in addresses] or [None]


def _servers(seen: Observation, behind: Iterable[Object | None], port: Object) -> Iterator[Server]:
    namespace = seen.parameters.application.namespace
    for pod in behind:
        number = target(port, pod) if pod is not None else None
        if pod is None or not has_sidecar(pod):
            yield Server(sidecar=False)
        elif number is not None:
            yield Server(
                sidecar=True,
                mode=traffic.mode_on_port(seen.policies_on(labels_of(pod)), namespace, number),
                past=why_not_inbound(pod, number),
                mode_for_all=traffic.mode_for_all(seen.policies, namespace),
            )


def _past_web(seen: Observation) -> Reason | None:
    port = seen.parameters.application.web.port
    past = (why_not_inbound(pod, port) for pod in seen.web_pods if has_sidecar(pod))
    return next(filter(None, past), None)


def _speaks_past(sent: Sent, server: Server) -> bool:
    """Whether a caller sends mutual TLS past a sidecar by itself; told by a rule, it conflicts."""
    refused = _no(meet(sent.mode, server)[0])
    return server.past is not None and sent.reason is None and refused


def _no(outcome: Connection) -> bool:
    return outcome is Connection.REFUSED


def _why_for_nothing(rule: Object, service: Object) -> Reason | None:
    host, said = called(service).host, str(spec_of(rule).get("host") or "")
    if said in short_names(host):
        return why_not_host(rule, host)
    if spec_of(service).get("type") == "ExternalName" and host_of(rule) == host:
        other = spec_of(service).get("externalName")
        why = f"{reference(service)} is an alias; rules are for what it stands for, {other}"
        return Reason(rule, ".spec.host", said, why)
    return None


def _calls_fail(
    seen: Observation, reason: Reason, sends: str, problem: str, to: _Destination, port: int
) -> Cause:
    rule = reason.item
    mends = "set a mode that the server takes"
    if to.name == seen.parameters.application.web.service:
        mends = "run notebook 05_authorization: its step authorization-destination-rule sets it"
    return Cause(
        reference(rule),
        f"a DestinationRule has callers send {sends}, and {problem}",
        f"pods in the mesh that call {to.name}:{port} get 503 (flags UF, UC); requests from "
        "outside do not use the rule",
        f"{mends}; or take what it says of TLS out: kubectl --namespace {namespace_of(rule)} edit "
        f"destinationrule {name_of(rule)}",
        (reason.text, problem),
        link=_TLS,
    )


def _past(symptom: str, past: Reason, cause: str, *, outside: bool = False) -> Cause:
    return Cause(
        reference(past.item),
        f"{cause}: {past.why}",
        symptom,
        "take it off the list in the pod's template, and restart the workload",
        (past.text,),
        link=_ANNOTATIONS,
        outside=outside,
    )
