"""Rules about the AWS account, which is looked at only where the parameters ask for it.

Preflight judges it; here each of its findings is a cause, and what breaks the site now is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.diagnosis import Cause, Observation, registry
from runbook_lib.lifecycle import Finding, Severity

_ANSWERS = ("health-check-codes", "health-check-method", "health-check-port", "targets-unhealthy")
"""Findings that explain that users reach no pod."""

_CERTIFICATES = ("certificate-host", "certificate-invalid")

_UNKNOWN = ("load-balancer-elsewhere", "load-balancer-unknown", "nodes-unknown")
"""Findings that something in the cluster has no counterpart in the account."""

_NO_POD = (
    *("workload-missing", "scaled-to-zero", "pods-missing", "container-not-started"),
    *("container-not-ready", "pod-starting", "init-container-waits", "pod-not-scheduled"),
    *("service-missing", "service-selects-nothing", "target-port-wrong", "no-endpoints"),
)
_CLOSED = (
    *("network-policy-locks-out", "denied-by-policy", "method-missing", "allow-policy-excludes"),
    *("exception-service-port", "exception-other-port", "exception-selects-nothing"),
    *("exception-without-selector", "exception-elsewhere", "exception-shadowed"),
    *("exception-is-strict", "exception-missing"),
)
"""What makes a load balancer find its targets unhealthy."""

_of_mesh = partial(registry.rule, registry.Area.CONTROL_PLANE)
_outside = partial(registry.rule, registry.Area.OUTSIDE)


@_of_mesh("02_label_namespace", order=15, needs=("aws_ports",))
def security_group_closes(seen: Observation) -> Iterator[Cause]:
    """A security group closes a port of istiod or of sidecars."""
    for finding in seen.aws_ports:
        if finding.name not in _UNKNOWN:
            yield Cause.of(finding, severity=Severity.FAULT if finding.refuses else Severity.NOTE)


@_outside(
    "04_mutual_tls",
    order=435,
    needs=("aws_balancers", "answers"),
    explained_by=(*_NO_POD, *_CLOSED),
)
def load_balancer_reaches_no_pod(seen: Observation) -> Iterator[Cause]:
    """Users get no answer, and the load balancer has no healthy target or asks wrongly."""
    for finding in _named(seen.aws_balancers, *_ANSWERS):
        answers = seen.unreachable
        if answers:
            yield Cause.of(finding, effect=answers[0].text, outside=True)


@_outside("04_mutual_tls", order=436, needs=("aws_balancers",))
def load_balancer_certificate(seen: Observation) -> Iterator[Cause]:
    """The load balancer's certificate is not valid, or for another name."""
    for finding in _named(seen.aws_balancers, *_CERTIFICATES):
        yield Cause.of(finding, outside=True)


@_outside("00_start_here", order=990, needs=("aws_balancers",))
def load_balancer_settings(seen: Observation) -> Iterator[Cause]:
    """A load balancer works, and is not set up as XNAT or the mesh needs it."""
    for finding in seen.aws_balancers:
        asks = finding.name in _ANSWERS and not seen.unreachable
        if asks or finding.name not in (*_ANSWERS, *_CERTIFICATES, *_UNKNOWN):
            yield Cause.of(finding, severity=Severity.NOTE)


@_of_mesh("00_start_here", order=989, uses=("aws_ports", "aws_balancers"))
def not_in_the_account(seen: Observation) -> Iterator[Cause]:
    """Nodes or load balancers of the cluster are not in the account that was looked at."""
    for finding in _named((*seen.aws_ports, *seen.aws_balancers), *_UNKNOWN):
        yield Cause.of(finding, severity=Severity.NOTE)


@_outside("00_start_here", order=991, needs=("aws_networks",))
def subnets_run_short(seen: Observation) -> Iterator[Cause]:
    """Subnets lack addresses, zones or tags."""
    for finding in seen.aws_networks:
        yield Cause.of(finding, severity=Severity.NOTE)


@_of_mesh("00_start_here", order=992, needs=("aws_versions",))
def versions_apart(seen: Observation) -> Iterator[Cause]:
    """Versions of EKS, of nodes or of the load balancer controller do not go with Istio's."""
    for finding in seen.aws_versions:
        yield Cause.of(finding, severity=Severity.NOTE)


def _named(findings: tuple[Finding, ...], *names: str) -> Iterator[Finding]:
    return (each for each in findings if each.name in names)
