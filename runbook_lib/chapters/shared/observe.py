"""What steps look at to prove their effect: traffic from outside, and tables of objects."""

from __future__ import annotations

from runbook_lib.base import KindNotInstalled, VerificationFailed
from runbook_lib.cluster import PROXY, Object, name_of, namespace_of, pods, reference
from runbook_lib.lifecycle import Answered, Context, Probed, Table, table
from runbook_lib.mesh import has_ended, patience, traffic
from runbook_lib.mesh.policy import (
    allowed_methods,
    allowed_to_some,
    is_dry_run,
    opened_ports,
)
from runbook_lib.site import probe


def prove_traffic(context: Context, *, replaced: bool = False) -> Table:
    """Wait until the answers from outside are those that the runbook's policies in force imply.

    Every answer must be right three times in a row, over fresh connections. What others have
    applied changes nothing about what is expected: if it breaks or widens the access that the
    runbook is there to bring about, that is not verified.

    Args:
        context: Where.
        replaced: Whether web pods have just been replaced: a load balancer sends requests to new
            ones only once these have passed its health checks.

    Raises:
        VerificationFailed: They are not in time; the error shows the table, and who else has
            policies on the web pods.
    """
    parameters, url = context.parameters, context.target.url

    def record(answers: probe.ProbeTable, *, proved: bool = False) -> Table:
        context.journal.record(Probed(url, tuple(map(_answered, answers.rows)), proved))
        return table.of_probes("From outside, over fresh connections", answers)

    policies = traffic.policies_in_force(context.cluster, parameters)
    own = traffic.of_the_runbook(parameters, policies)
    try:
        proved = probe.prove(
            url,
            traffic.expected_probes(parameters, own),
            timeout=parameters.timeouts.policy
            + (patience.seconds_until_served(context) if replaced else 0),
            probe_timeout=parameters.timeouts.probe,
            verify=context.verify_tls,
            on_change=context.waiting,
            on_answers=record,
        )
    except probe.UnexpectedAnswers as error:
        cause, remedy = f"{error.cause}:\n{table.of_probes('', error.answers)}", error.remedy
        others = ", ".join(map(reference, traffic.of_others(parameters, policies)))
        if others and not error.answers.hidden:
            cause += f"\nAlso in force on the web pods, and not of this runbook: {others}"
            remedy = "ask whoever applied them; remove or change what blocks or widens access"
        raise VerificationFailed(cause, remedy) from error
    return record(proved, proved=True)


def _answered(row: probe.ProbeRow) -> Answered:
    asked, observed = row.probe, row.observed
    return Answered(
        method=asked.method,
        path=asked.path,
        status=observed.status,
        detail=observed.error or observed.excerpt,
        expected=asked.expected.text,
        ok=row.ok,
    )


def look_at_traffic(context: Context) -> Table:
    """Ask once, and show the answers next to those that the runbook's policies imply."""
    parameters = context.parameters
    in_force = traffic.policies_in_force(context.cluster, parameters)
    policies = traffic.of_the_runbook(parameters, in_force)
    seen = probe.ProbeTable(
        tuple(
            probe.ProbeRow(
                desired,
                probe.send(
                    context.target.url,
                    desired,
                    timeout=parameters.timeouts.probe,
                    verify=context.verify_tls,
                ),
            )
            for desired in traffic.expected_probes(parameters, policies)
        )
    )
    return table.of_probes("From outside, now", seen)


def pod_table(context: Context, namespace: str) -> Table:
    """Return what `kubectl get pods` shows of a namespace, and where the sidecar is."""
    rows = []
    for pod in context.cluster.list("v1", "Pod", namespace):
        if has_ended(pod):
            continue
        sidecar = next((c for c in pods.containers(pod) if c.name == PROXY), None)
        where = "initContainers" if sidecar and sidecar.native_sidecar else "containers"
        rows.append(
            (
                name_of(pod),
                pods.ready_count(pod),
                "ready" if pods.is_ready(pod) else pods.why_not_ready(pod),
                f"in {where}" if sidecar else "none",
            )
        )
    return Table.shown(f"Pods in {namespace}", ("pod", "ready", "state", PROXY), sorted(rows))


def peer_authentication_table(context: Context) -> Table:
    """Return what `kubectl get peerauthentication --all-namespaces` shows, and the ports."""
    rows = []
    for policy in _all(context, "PeerAuthentication"):
        spec = policy.get("spec") or {}
        selector = (spec.get("selector") or {}).get("matchLabels") or {}
        ports = spec.get("portLevelMtls") or {}
        rows.append(
            (
                namespace_of(policy),
                name_of(policy),
                (spec.get("mtls") or {}).get("mode", "UNSET"),
                ", ".join(f"{port}: {value.get('mode')}" for port, value in ports.items()) or "-",
                ", ".join(f"{key}={value}" for key, value in selector.items()) or "all",
            )
        )
    columns = ("namespace", "name", "mode", "ports", "pods")
    return Table.shown("PeerAuthentications", columns, sorted(rows))


def authorization_policy_table(context: Context) -> Table:
    """Return the AuthorizationPolicies of all namespaces: what they do, and whether for real."""
    rows = []
    for policy in _all(context, "AuthorizationPolicy"):
        spec = policy.get("spec") or {}
        rows.append(
            (
                namespace_of(policy),
                name_of(policy),
                spec.get("action", "ALLOW"),
                _allowed(policy),
                "no (dry run)" if is_dry_run(policy) else "yes",
            )
        )
    columns = ("namespace", "name", "action", "methods", "enforced")
    return Table.shown("AuthorizationPolicies", columns, sorted(rows))


def _allowed(policy: Object) -> str:
    """Say which methods a policy allows, to whom, and the ports on which it looks at none."""
    ports = [f"everything on {port}" for port in opened_ports(policy)]
    allowed = [*sorted(allowed_methods(policy)), *allowed_to_some(policy), *ports]
    return ", ".join(allowed) or "-"


def _all(context: Context, kind: str) -> list[Object]:
    try:
        return context.cluster.list(traffic.SECURITY_API, kind)
    except KindNotInstalled:
        return []
