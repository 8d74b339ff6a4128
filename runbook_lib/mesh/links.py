"""What becomes of traffic between two ends: pure rules over observations and policies.

Sources: automatic mutual TLS and what each end does, see
https://istio.io/latest/docs/ops/configuration/traffic-management/tls-configuration/; policies on
TCP ports, see https://istio.io/latest/docs/tasks/security/authorization/authz-tcp/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from runbook_lib.lifecycle import CallAnswered
from runbook_lib.mesh import traffic
from runbook_lib.mesh.map import EDGE, OUTSIDER, Basis, Link, LinkState
from runbook_lib.mesh.policy import (
    AUTOMATIC,
    PERMISSIVE,
    STRICT,
    Connection,
    Reason,
    Request,
    Server,
    decide,
    meet,
)
from runbook_lib.mesh.traffic import Policies
from runbook_lib.site import Observed

_STATES = {
    Connection.MUTUAL_TLS: LinkState.MUTUAL_TLS,
    Connection.PLAINTEXT: LinkState.PLAINTEXT,
    Connection.REFUSED: LinkState.REFUSED,
    Connection.UNJUDGED: LinkState.UNKNOWN,
}


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
        mode_for_all: That of its namespace.
        past: Why connections to the port go past its sidecars; None if they do not.
        policies: The policies, with its labels.
    """

    name: str
    sidecars: bool | None
    pods: int = 1
    port: int | None = None
    http: bool = False
    mode: str = PERMISSIVE
    mode_for_all: str = PERMISSIVE
    past: Reason | None = None
    policies: Policies = field(default_factory=Policies)


def from_edge(web: End, answers: Sequence[Observed]) -> Link:
    """Return the link from the load balancer, whose state was found out by asking."""
    state, reasons = _answered(web, answers)
    return Link(
        EDGE, web.name, web.port, state, Basis.ASKED, tuple(reasons), tuple(map(_brief, answers))
    )


def between(
    client: End, server: End, rule_mode: str = AUTOMATIC, past: Reason | None = None
) -> Link:
    """Return the link from one workload to another, derived.

    Args:
        client: Who calls.
        server: Who is called.
        rule_mode: The TLS mode that a DestinationRule sets for the server; empty if none does.
        past: Why the client's calls go past its sidecar; None if they do not.
    """
    state, reason = _transport(client, server, rule_mode, past)
    reasons = [reason]
    if _is_guarded(server) and state in (LinkState.MUTUAL_TLS, LinkState.PLAINTEXT):
        state, more = _authorized(client, server, state, past)
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
    state, reason = _transport(client, server, AUTOMATIC)
    reasons = [reason]
    limits = _is_guarded(server) and traffic.enforced(server.policies)
    if limits and state is LinkState.PLAINTEXT:
        reasons.append("methods limited as for the load balancer")
    return Link(OUTSIDER, server.name, server.port, state, Basis.DERIVED, tuple(reasons))


def as_asked(link: Link, calls: Sequence[CallAnswered]) -> Link:
    """Return a derived link as it was asked, if it was.

    Args:
        link: From a workload or an outsider.
        calls: What pods were answered by pods: those with a sidecar called in a workload's place.
    """
    outsider = link.source == OUTSIDER
    found = [
        call
        for call in calls
        if (call.sidecar, call.target, call.port) == (not outsider, link.target, link.port)
    ]
    if not found:
        return link
    if all(call.let_in for call in found):
        tls = {call.mutual_tls for call in found}
        state = LinkState.MUTUAL_TLS if tls == {True} else LinkState.PLAINTEXT
        # A sidecar that was not counted proves that it is let in, and not how.
        state = link.state if None in tls else state
    else:
        state = LinkState.REFUSED
    reasons = link.reasons
    if not outsider:
        reasons = (f"asked by another pod with a sidecar in place of {link.source}", *reasons)
    answers = tuple(dict.fromkeys(call.text for call in found))
    return replace(link, state=state, basis=Basis.ASKED, reasons=reasons, answers=answers)


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


def _is_guarded(server: End) -> bool:
    """Whether sidecars take what comes to the port."""
    return bool(server.sidecars) and server.past is None


def _answered(web: End, answers: Sequence[Observed]) -> tuple[LinkState, list[str]]:
    failed = [answer for answer in answers if answer.unanswered]
    denied = [answer for answer in answers if _denied(answer)]
    strict = _is_guarded(web) and web.mode == STRICT
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
    if web.past is not None:
        reasons.append(f"port {web.port} is not captured: {web.past.text}")
    elif web.sidecars:
        reasons.append(f"port {web.port} is {web.mode}")
    if strict:
        reasons.insert(0, "answered although the port is STRICT: not in effect yet")
    if denied:
        methods = ", ".join(answer.method for answer in denied)
        reasons.insert(0, f"an AuthorizationPolicy denies {methods}")
    state = LinkState.REFUSED if len(denied) == len(answers) else LinkState.PLAINTEXT
    return state, reasons


def _transport(
    client: End, server: End, rule_mode: str, past: Reason | None = None
) -> tuple[LinkState, str]:
    """Return what a connection is like, before any AuthorizationPolicy."""
    for end in (client, server):
        if end.sidecars is None:
            why = "has sidecars in some pods only" if end.pods else "has no pods"
            return LinkState.UNKNOWN, f"{end.name} {why}"
    goes_by_rules = bool(client.sidecars) and past is None
    sends = rule_mode if goes_by_rules else "DISABLE"
    called = Server(bool(server.sidecars), server.mode, server.past, server.mode_for_all)
    outcome, why = meet(sends, called)
    if outcome is Connection.MUTUAL_TLS:
        return LinkState.MUTUAL_TLS, why
    if past is not None:
        who = f"{client.name} goes past its sidecar: {past.text}"
    elif goes_by_rules and rule_mode:
        who = f"a DestinationRule has callers send {rule_mode}"
    else:
        who = "" if client.sidecars else f"{client.name} has no sidecar and sends plaintext"
    return _STATES[outcome], f"{who}; {why}" if who else why


def _authorized(
    client: End, server: End, state: LinkState, past: Reason | None
) -> tuple[LinkState, list[str]]:
    """Return the state that AuthorizationPolicies leave of a link that is no HTTP from outside."""
    identity = bool(client.sidecars) and past is None and state is LinkState.MUTUAL_TLS
    request = Request(server.port or 0, http=server.http, identity=identity)
    deciding = traffic.enforced(server.policies)
    decision = decide(deciding, request)
    if decision.allowed:
        return state, []
    reasons = [f"{reason.text}: {reason.why}" for reason in decision.reasons]
    if decision.allowed is None:
        return LinkState.UNKNOWN, [f"an AuthorizationPolicy decides: {'; '.join(reasons)}"]
    return LinkState.REFUSED, [f"no AuthorizationPolicy lets it in: {'; '.join(reasons)}"]


def _denied(answer: Observed) -> bool:
    """Whether the sidecar said no; the body of an answer to HEAD, which tells, is not sent."""
    desired = traffic.DENIED
    told = answer.method == "HEAD" or str(desired.body_contains) in answer.body
    return answer.status == desired.status and told


def _brief(answer: Observed) -> str:
    if answer.status is None:
        return f"{answer.method} {answer.error}"
    return f"{answer.method} {answer.status}{' denied' if _denied(answer) else ''}"
