"""Policies that wait for sidecars: they hold from the moment in which a pod has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from runbook_lib.chapters.shared.preflight.wording import kubectl, risk
from runbook_lib.chapters.shared.preflight.workloads.listed import Listed
from runbook_lib.cluster import labels_of, name_of, namespace_of, ref, reference
from runbook_lib.lifecycle import Context, Finding, Interruption, Loss
from runbook_lib.mesh import outside, traffic, web
from runbook_lib.mesh.policy import STRICT, is_dry_run, mode_on_port


def awakened(context: Context, waiting: Sequence[Listed]) -> Iterator[Finding]:
    """Find policies of others that select pods which have no sidecar yet.

    Without a sidecar they have no effect, so no one may know of them. What they forbid ends with
    the restart.
    """
    parameters = context.parameters
    policies = traffic.policies_in_force(context.cluster, parameters)
    for each in waiting:
        if not each.lacking:  # it is restarted for a newer sidecar, and they hold already
            continue
        theirs = replace(policies, web_labels=labels_of(each.template))
        for policy in traffic.of_others(parameters, theirs):
            if policy["kind"] == "AuthorizationPolicy" and not is_dry_run(policy):
                where = ("--namespace", namespace_of(policy))
                look = kubectl(*where, "get", "authorizationpolicy", name_of(policy), "-o", "yaml")
                finding = Finding(
                    reference(policy),
                    f"it selects pods of {each.where}, which have no sidecar yet",
                    "it begins to hold with the restart; what it forbids, also on ports that speak "
                    "no HTTP, stops working",
                    f"ask its owner whether that is meant, and look: {look}",
                    (".spec.selector",),
                )
                yield risk(context, "policies", finding)


def strict_already(context: Context) -> Iterator[Interruption]:
    """Announce that STRICT closes the web port with the restart, where it is in force before."""
    parameters = context.parameters
    application = parameters.application
    labels = web.labels(context.cluster, parameters)
    policies = traffic.policies_in_force(context.cluster, parameters)
    found = mode_on_port(
        policies.peer_authentications, application.namespace, labels, application.web.port
    )
    if found.mode == STRICT and not policies.in_mesh:
        workload = ref(application.web.kind, application.web.name, application.namespace)
        yield Interruption(
            outside(context),
            Loss.EVERYTHING,
            "no answer: the load balancer says 502, or closes the connection",
            f"STRICT is in force, and {workload} has no exception yet",
            None,
            "until mutual-tls-exception is applied",
        )
