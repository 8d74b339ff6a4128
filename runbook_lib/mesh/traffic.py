"""Which answers to expect from outside, derived from the policies in force.

The edge speaks plaintext to the web container and has no identity in the mesh. So a request meets,
in this order: mutual TLS on the container's port, then the authorization policies that select the
pod, unless the port is not captured at all. What these mean is in `policy`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runbook_lib.base import KindNotInstalled, RunbookError
from runbook_lib.cluster import Cluster, Object, has_sidecar, labels_of, name_of, namespace_of
from runbook_lib.mesh import policy
from runbook_lib.mesh.policy import PortProtocol, Protocol, Reason, Request
from runbook_lib.mesh.web import web_pods, workload
from runbook_lib.parameters import Parameters
from runbook_lib.site import CLOSED, Expectation, Probe

SECURITY_API = "security.istio.io/v1"

DENIED = Expectation(403, "RBAC: access denied")
"""Envoy's answer to a request that no policy allows; the body tells it from the application's."""


@dataclass(frozen=True)
class Policies:
    """The policies that may concern the web workload.

    Attributes:
        peer_authentications: Of the root namespace and the application's.
        authorization_policies: The same.
        web_labels: The labels of the web pods, which policies select by.
        in_mesh: Whether the web pods have sidecars; without, no policy has an effect.
        web_past: Why connections to the web port go past the sidecars; None if they do not.
        web_protocol: As what the sidecars read the web port.
    """

    peer_authentications: tuple[Object, ...] = ()
    authorization_policies: tuple[Object, ...] = ()
    web_labels: Mapping[str, str] = field(default_factory=dict)
    in_mesh: bool = True
    web_past: Reason | None = None
    web_protocol: PortProtocol = field(default_factory=PortProtocol)


def policies_in_force(cluster: Cluster, parameters: Parameters) -> Policies:
    """Read the policies, the Services and the web pods from the cluster."""
    application = parameters.application
    namespaces = (parameters.istio.namespace, application.namespace)
    port = application.web.port
    web = web_pods(cluster, parameters)
    services = cluster.list("v1", "Service", application.namespace)
    past = (policy.why_not_inbound(pod, port) for pod in web if has_sidecar(pod))
    return Policies(
        tuple(_list(cluster, "PeerAuthentication", namespaces)),
        tuple(_list(cluster, "AuthorizationPolicy", namespaces)),
        web_labels=labels_of(web[0]) if web else _template_labels(cluster, parameters),
        in_mesh=any(has_sidecar(pod) for pod in web),
        web_past=next(filter(None, past), None),
        web_protocol=policy.on_port(services, web[0], port) if web else PortProtocol(),
    )


def _template_labels(cluster: Cluster, parameters: Parameters) -> Mapping[str, str]:
    """Return the labels that web pods would have, where there are none."""
    found = workload(cluster, parameters)
    return labels_of(found["spec"]["template"]) if found else {}


def of_the_runbook(parameters: Parameters, policies: Policies) -> Policies:
    """Return the runbook's own policies: what it wants, whatever anybody else has applied."""
    own, _ = _parted(parameters, policies)
    return own


def of_others(parameters: Parameters, policies: Policies) -> tuple[Object, ...]:
    """Return the policies of others that concern the web pods, and so may change the answers."""
    _, others = _parted(parameters, policies)
    found = (*others.peer_authentications, *others.authorization_policies)
    return tuple(each for each in found if policy.selects(each, policies.web_labels))


def _parted(parameters: Parameters, policies: Policies) -> tuple[Policies, Policies]:
    namespace = parameters.application.namespace
    own = {
        ("PeerAuthentication", parameters.istio.namespace, parameters.mutual_tls.policy),
        ("PeerAuthentication", namespace, parameters.mutual_tls.exception),
        ("AuthorizationPolicy", namespace, parameters.authorization.policy),
    }

    def part(kind: str, found: Sequence[Object], *, ours: bool) -> tuple[Object, ...]:
        names = [(kind, namespace_of(p), name_of(p)) for p in found]
        return tuple(each for each, name in zip(found, names, strict=True) if (name in own) is ours)

    def half(*, ours: bool) -> Policies:
        return replace(
            policies,
            peer_authentications=part(
                "PeerAuthentication", policies.peer_authentications, ours=ours
            ),
            authorization_policies=part(
                "AuthorizationPolicy", policies.authorization_policies, ours=ours
            ),
        )

    return half(ours=True), half(ours=False)


def expected_probes(parameters: Parameters, policies: Policies) -> list[Probe]:
    """Return the application's probes with the answer that the policies make of each.

    Raises:
        RunbookError: A policy uses conditions whose outcome cannot be derived.
    """
    return [
        Probe(
            probe.method,
            probe.path,
            expected_answer(parameters, policies, probe.method, probe.path, probe.status),
        )
        for probe in parameters.application.probes
    ]


def expected_answer(
    parameters: Parameters, policies: Policies, method: str, path: str, own_status: int
) -> Expectation:
    """Return the answer to expect for one request from outside.

    Args:
        parameters: The run's parameters.
        policies: The policies in force.
        method: The request's method.
        path: The request's path, perhaps with a query.
        own_status: What the application answers when nothing blocks the request.

    Raises:
        RunbookError: A policy uses conditions whose outcome cannot be derived.
    """
    if not policies.in_mesh or policies.web_past is not None:
        return Expectation(own_status)
    if port_mode(parameters, policies) == policy.STRICT:
        return CLOSED
    request = web_request(parameters, policies, method, path)
    decision = policy.decide(enforced(policies), request)
    if decision.allowed is None:
        raise _not_derivable(decision.reasons)
    if decision.allowed:
        return Expectation(own_status, by_sidecar=True)
    return DENIED if request.http else CLOSED


def port_mode(parameters: Parameters, policies: Policies) -> str:
    """Return the mutual TLS mode in force on the web container's port."""
    application = parameters.application
    return mode_on_port(policies, application.namespace, application.web.port)


def takes_plaintext_tcp(parameters: Parameters, policies: Policies, port: int) -> bool | None:
    """Return whether a caller without a sidecar can use a port of the web pods that is not HTTP.

    Args:
        parameters: The run's parameters.
        policies: The policies in force.
        port: The container's port, captured by the sidecar.

    Returns:
        None if a policy uses conditions whose outcome cannot be derived.
    """
    if not policies.in_mesh:
        return True
    if mode_on_port(policies, parameters.application.namespace, port) == policy.STRICT:
        return False
    return policy.decide(enforced(policies), Request(port, http=False)).allowed


def mode_on_port(policies: Policies, namespace: str, port: int) -> str:
    """Return the mutual TLS mode in force on a port of the workload that `policies` are about."""
    found = policy.mode_on_port(policies.peer_authentications, namespace, policies.web_labels, port)
    return found.mode


def mode_for_all(policies: Policies, namespace: str) -> str:
    """Return the mode for workloads of a namespace that no policy selects: callers know it."""
    # Port 0 and no labels: nothing narrower than the namespace matches.
    return policy.mode_on_port(policies.peer_authentications, namespace, {}, 0).mode


def enforced(policies: Policies) -> list[Object]:
    """Return the AuthorizationPolicies that decide at the workload `policies` are about."""
    return policy.enforced(policies.authorization_policies, policies.web_labels)


def web_request(parameters: Parameters, policies: Policies, method: str, path: str) -> Request:
    """Return a request from outside as the web pods' sidecars see it: without an identity.

    Args:
        parameters: The run's parameters.
        policies: The policies in force.
        method: The request's method.
        path: The request's path, perhaps with a query.
    """
    http = policies.web_protocol.protocol is not Protocol.TCP
    return Request(parameters.application.web.port, method, path.partition("?")[0], http=http)


def methods_without_effect(policies: Policies) -> Reason | None:
    """Return why no policy about methods can do what it says at the web pods; None if it can.

    Where the sidecar does not read HTTP, a rule that allows methods matches nothing, and what goes
    past the sidecar meets no rule at all.
    """
    if policies.web_protocol.protocol is Protocol.TCP:
        return policies.web_protocol.reason
    return policies.web_past


def _list(cluster: Cluster, kind: str, namespaces: Sequence[str]) -> Iterator[Object]:
    try:
        for namespace in namespaces:
            yield from cluster.list(SECURITY_API, kind, namespace)
    except KindNotInstalled:
        # Without Istio's kinds there are no policies.
        return


def _not_derivable(reasons: Sequence[Reason]) -> RunbookError:
    said = "; ".join(f"{reason.text}: {reason.why}" for reason in reasons)
    return RunbookError(
        f"which answers to expect cannot be derived: {said}",
        "check it with: istioctl x authz check POD.NAMESPACE; the runbook judges methods, paths, "
        "ports and identities",
    )
