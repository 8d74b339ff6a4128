"""Who can be asked from pod to pod, and what the runbook's policies make of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from runbook_lib.chapters.policies.services import service_ports
from runbook_lib.cluster import Object, has_sidecar, name_of, namespace_of
from runbook_lib.lifecycle import Context, Finding, Refused
from runbook_lib.mesh import own_policies, traffic, web_pods
from runbook_lib.mesh.callers import Endpoint, Expected, Question, Speaks, expected, speaks
from runbook_lib.mesh.ends import Ends
from runbook_lib.mesh.policy import called


def pattern(context: Context) -> Object | None:
    """Return a web pod with a sidecar, of which callers take image and node."""
    return next(filter(has_sidecar, web_pods(context.cluster, context.parameters)), None)


def require_pattern(context: Context) -> Object:
    """Return the same.

    Raises:
        Refused: There is none.
    """
    found = pattern(context)
    if found is None:
        raise Refused(
            Finding(
                f"web pods in {context.parameters.application.namespace}",
                "none of them has a sidecar",
                "there would be nothing to ask, and no image to ask with",
                "run notebook 02_label_namespace",
            )
        )
    return found


def ends_in_force(context: Context) -> Ends:
    """Return who can be asked, judged by all policies in force."""
    parameters, cluster = context.parameters, context.cluster
    pods = cluster.list("v1", "Pod", parameters.application.namespace)
    return Ends.look(context, traffic.policies_in_force(cluster, parameters), pods)


def own_ends(context: Context) -> Ends:
    """Return who can be asked, judged by the runbook's own policies alone."""
    parameters, ends = context.parameters, ends_in_force(context)
    names = {(p.namespace, p.name) for p in own_policies(parameters) if p.kind == "DestinationRule"}
    rules = [rule for rule in ends.rules if (namespace_of(rule), name_of(rule)) in names]
    return replace(ends, policies=traffic.of_the_runbook(parameters, ends.policies), rules=rules)


def servers(context: Context, ends: Ends) -> Iterator[Endpoint]:
    """Yield the web workload, and then what it depends on.

    Raises:
        Refused: There is no web Service, or none of its ports leads to the web port.
    """
    web = context.parameters.application.web
    port, *_ = service_ports(context)
    service = next(s for s in ends.services if name_of(s) == web.service)
    yield Endpoint(ends.web(), web.service, called(service).host, port, Speaks.HTTP)
    for end, service in ends.dependencies():
        declared = service["spec"]["ports"][0]
        spoken = speaks(declared, http=end.http)
        yield Endpoint(end, name_of(service), called(service).host, declared["port"], spoken)


def expectation(ends: Ends, question: Question) -> Expected | None:
    """Return what is to come of a question; None if the runbook does not speak with the server."""
    server = question.server
    if server.speaks is None:
        return None
    service = next(s for s in ends.services if name_of(s) == server.service)
    return expected(question, ends.sent(service, server.port, question.caller.namespace, {}).mode)
