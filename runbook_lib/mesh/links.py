"""What becomes of traffic between two ends: pure rules over observations and policies.

Sources: automatic mutual TLS and what each end does, see
https://istio.io/latest/docs/ops/configuration/traffic-management/tls-configuration/; policies on
TCP ports, see https://istio.io/latest/docs/tasks/security/authorization/authz-tcp/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from runbook_lib.cluster import Object, name_of
from runbook_lib.mesh import traffic
from runbook_lib.mesh.map import EDGE, OUTSIDER, Basis, Link, LinkState
from runbook_lib.mesh.traffic import Policies
from runbook_lib.site import Observed

_GATEWAY_ERRORS = (502, 503, 504)
"""Answers of a load balancer that got none itself."""

_HTTP_ONLY = ("methods", "notMethods", "paths", "notPaths", "hosts", "notHosts")


@dataclass(frozen=True)
class End:
    """A workload as an end of a link.

    Attributes:
        name: Its name.
        sidecars: Whether its pods have sidecars; None if only some have, or there are no pods.
        pods: How many pods it has.
        port: The container's port on which it is called.
        http: Whether the port's protocol is declared to be HTTP.
        mode: The mutual TLS mode in force on the port.
        policies: The policies, with its labels.
    """

    name: str
    sidecars: bool | None
    pods: int = 1
    port: int | None = None
    http: bool = False
    mode: str = "PERMISSIVE"
    policies: Policies = field(default_factory=Policies)


def from_edge(web: End, answers: Sequence[Observed]) -> Link:
    """Return the link from the load balancer, whose state was found out by asking."""
    state, reasons = _answered(web, answers)
    return Link(
        EDGE, web.name, web.port, state, Basis.ASKED, tuple(reasons), tuple(map(_brief, answers))
    )


def between(client: End, server: End, rule_mode: str = "") -> Link:
    """Return the link from one workload to another, derived.

    Args:
        client: Who calls.
        server: Who is called.
        rule_mode: The TLS mode that a DestinationRule sets for the server; empty if none does.
    """
    state, reason = _transport(client, server, rule_mode)
    reasons = [reason]
    if server.sidecars and state in (LinkState.MUTUAL_TLS, LinkState.PLAINTEXT):
        state, more = _authorized(server, state)
        reasons = [*more, *reasons]
    return Link(client.name, server.name, server.port, state, Basis.DERIVED, tuple(reasons))


def from_outsider(server: End, *, web: bool) -> Link:
    """Return the link from a caller inside the cluster that has no sidecar, derived.

    Args:
        server: Who is called.
        web: Whether it is the web workload; there such a caller meets the load balancer's rules.
    """
    client = End(OUTSIDER, sidecars=False)
    if not web:
        return between(client, server)
    state, reason = _transport(client, server, "")
    reasons = [reason]
    if server.sidecars and state is LinkState.PLAINTEXT and traffic.enforced(server.policies):
        reasons.append("methods limited as for the load balancer")
    return Link(OUTSIDER, server.name, server.port, state, Basis.DERIVED, tuple(reasons))


def configuration(control_plane: str, namespace: str, ready: int, total: int) -> Link:
    """Return the link from istiod to the sidecars: they are ready once it has configured them."""
    return Link(
        control_plane,
        namespace,
        None,
        LinkState.CONFIGURES if ready else LinkState.UNKNOWN,
        Basis.DERIVED,
        (f"{ready} of {total} sidecars are ready, so it has configured them",),
    )


def _answered(web: End, answers: Sequence[Observed]) -> tuple[LinkState, list[str]]:
    failed = [answer for answer in answers if _failed(answer)]
    denied = [answer for answer in answers if _denied(answer)]
    strict = bool(web.sidecars) and web.mode == "STRICT"
    if not answers:
        return LinkState.UNKNOWN, ["nothing was asked"]
    if len(failed) == len(answers):
        if strict:
            return LinkState.REFUSED, [f"port {web.port} is STRICT: plaintext is refused"]
        if not web.pods:
            return LinkState.NO_ANSWER, [f"{web.name} has no pods"]
        return LinkState.NO_ANSWER, ["no policy explains it: look at the pods"]
    if failed:
        return LinkState.UNKNOWN, ["some requests were answered and some were not"]
    reasons = ["plaintext, as the load balancer has no identity in the mesh"]
    if web.sidecars:
        reasons.append(f"port {web.port} is {web.mode}")
    if strict:
        reasons.insert(0, "answered although the port is STRICT: not in effect yet")
    if denied:
        methods = ", ".join(answer.method for answer in denied)
        reasons.insert(0, f"an AuthorizationPolicy denies {methods}")
    state = LinkState.REFUSED if len(denied) == len(answers) else LinkState.PLAINTEXT
    return state, reasons


def _transport(client: End, server: End, rule_mode: str) -> tuple[LinkState, str]:
    """Return what a connection is like, before any AuthorizationPolicy."""
    for end in (client, server):
        if end.sidecars is None:
            why = "has sidecars in some pods only" if end.pods else "has no pods"
            return LinkState.UNKNOWN, f"{end.name} {why}"
    if client.sidecars and rule_mode not in ("", "DISABLE", "ISTIO_MUTUAL"):
        return (
            LinkState.UNKNOWN,
            f"a DestinationRule sets TLS mode {rule_mode}, which is not judged",
        )
    accepts = bool(server.sidecars) and server.mode != "DISABLE"
    automatic = "ISTIO_MUTUAL" if accepts else "DISABLE"
    sends = (rule_mode or automatic) if client.sidecars else "DISABLE"
    strict = bool(server.sidecars) and server.mode == "STRICT"
    if sends == "ISTIO_MUTUAL":
        if accepts:
            return LinkState.MUTUAL_TLS, f"both ends have sidecars; port is {server.mode}"
        lacks = f"port is {server.mode}" if server.sidecars else f"{server.name} has no sidecar"
        return LinkState.REFUSED, f"a DestinationRule demands mutual TLS, but {lacks}"
    if strict:
        return LinkState.REFUSED, "port is STRICT, and the caller sends plaintext"
    if not server.sidecars:
        return LinkState.PLAINTEXT, f"{server.name} has no sidecar"
    if client.sidecars:
        cause = "its DestinationRule says so" if rule_mode else "port is DISABLE"
        return LinkState.PLAINTEXT, f"no mutual TLS: {cause}"
    return LinkState.PLAINTEXT, f"port is {server.mode}: plaintext is let in"


def _authorized(server: End, state: LinkState) -> tuple[LinkState, list[str]]:
    """Return the state that AuthorizationPolicies leave of a link that is no HTTP from outside."""
    deciding = [p for p in traffic.enforced(server.policies) if _action(p) != "AUDIT"]
    if not deciding:
        return state, []
    names = ", ".join(str(name_of(policy)) for policy in deciding)
    only_http = all(_action(p) == "ALLOW" and _needs_http(p) for p in deciding)
    if only_http and not server.http:
        return LinkState.REFUSED, [f"AuthorizationPolicy {names} allows no TCP, only HTTP"]
    return LinkState.UNKNOWN, [f"AuthorizationPolicy {names} decides, which is not judged here"]


def _needs_http(policy: Object) -> bool:
    """Whether no rule can match a connection of which only addresses and ports are known."""
    return all(
        rule.get("to")
        and all(
            any((to.get("operation") or {}).get(key) for key in _HTTP_ONLY) for to in rule["to"]
        )
        for rule in (policy.get("spec") or {}).get("rules") or []
    )


def _action(policy: Object) -> str:
    return str((policy.get("spec") or {}).get("action", "ALLOW"))


def _failed(answer: Observed) -> bool:
    return answer.status is None or answer.status in _GATEWAY_ERRORS


def _denied(answer: Observed) -> bool:
    """Whether the sidecar said no; the body of an answer to HEAD, which tells, is not sent."""
    wanted = traffic.DENIED
    told = answer.method == "HEAD" or str(wanted.body_contains) in answer.body
    return answer.status == wanted.status and told


def _brief(answer: Observed) -> str:
    if answer.status is None:
        return f"{answer.method} {answer.error}"
    return f"{answer.method} {answer.status}{' denied' if _denied(answer) else ''}"
