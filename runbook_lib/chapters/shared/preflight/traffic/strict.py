"""What STRICT closes to plaintext, and who would go on sending it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runbook_lib.cluster import Object, has_sidecar, labels_of, namespace_of, place_of, reference
from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import templates, traffic, web_pods
from runbook_lib.mesh.ends import needed
from runbook_lib.mesh.policy import (
    STRICT,
    Reason,
    cluster_ip,
    mode_on_port,
    serves,
    service_targets,
    why_not_inbound,
    why_not_outbound,
)
from runbook_lib.mesh.templates import Template


@dataclass(frozen=True)
class Closing:
    """The PeerAuthentications before and after a step, as far as the application is concerned.

    Attributes:
        before: Those in force.
        after: Those that will be.
        made: What the application's pods are made of that are to have sidecars.
    """

    before: tuple[Object, ...]
    after: tuple[Object, ...]
    made: tuple[Template, ...]

    @classmethod
    def by(cls, context: Context, planned: Sequence[Object]) -> Closing:
        """Look up what is in force, and about which pods.

        Args:
            context: Where.
            planned: The PeerAuthentications of the step, in place of their namesakes.
        """
        found = traffic.policies_in_force(context.cluster, context.parameters)
        before = found.peer_authentications
        places = [place_of(each) for each in planned]
        kept = (each for each in before if place_of(each) not in places)
        return cls(before, (*kept, *planned), tuple(templates.meshed(context)))

    def closes(self, made: Template, port: int) -> bool:
        """Whether a port takes plaintext now and will not any more, once pods have sidecars."""
        if why_not_inbound(made.pod, port) is not None:
            return False
        closed_now = bool(made.live) and all(map(has_sidecar, made.live))
        return self.strict(self.after, made, port) and not (
            closed_now and self.strict(self.before, made, port)
        )

    def strict(self, policies: Sequence[Object], made: Template, port: int) -> bool:
        """Whether policies let only mutual TLS in at a port."""
        found = mode_on_port(policies, namespace_of(made.pod), labels_of(made.pod), port)
        return found.mode == STRICT


def dependencies_past_sidecars(context: Context, closing: Closing) -> Iterator[Finding]:
    """Find calls of the web pods that go past their sidecars to what will insist on mutual TLS.

    Args:
        context: Where.
        closing: What will insist on it.
    """
    web = templates.web(context)
    if web is None:
        return
    callers = [web, *(Template(pod, pod) for pod in web_pods(context.cluster, context.parameters))]
    names = needed(context.parameters)
    made = [each for each in closing.made if each.place[1] in names]
    for service in context.cluster.list("v1", "Service", context.parameters.application.namespace):
        for server in made:
            if not serves(service, server.pod):
                continue
            for number, to in service_targets(service, server.pod):
                captured = why_not_inbound(server.pod, to) is None
                if not captured or not closing.strict(closing.after, server, to):
                    continue
                past = {
                    caller.text(reason): reason
                    for caller in callers
                    if (reason := why_not_outbound(caller.pod, number, _address(service, server)))
                }
                if past:
                    yield _past(service, number, server, past)


def _past(service: Object, port: int, server: Template, past: dict[str, Reason]) -> Finding:
    return Finding(
        f"{reference(service)} port {port}",
        f"calls of the web pods to it go past their sidecars: {next(iter(past.values())).why}",
        f"they are plaintext, and {server.where} would refuse them once mutual TLS is required",
        "take it off the annotation, and restart the web pods",
        tuple(past),
    )


def _address(service: Object, server: Template) -> str:
    """Return the address that callers of a Service reach first; empty if it is not known."""
    addresses = ((each.get("status") or {}).get("podIP") for each in server.live)
    return cluster_ip(service) or str(next(filter(None, addresses), ""))
