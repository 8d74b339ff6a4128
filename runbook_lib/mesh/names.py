"""What things of the mesh are called: istiod, the label for sidecars, the runbook's policies."""

from __future__ import annotations

from dataclasses import dataclass

from runbook_lib.cluster import INJECTION_LABEL, REVISION_LABEL
from runbook_lib.mesh.traffic import SECURITY_API
from runbook_lib.parameters import Parameters


@dataclass(frozen=True)
class OwnPolicy:
    """Where one of the runbook's policies is, whether it is there yet or not.

    Attributes:
        api_version: Such as `security.istio.io/v1`.
        kind: Such as `PeerAuthentication`.
        namespace: Its namespace.
        name: Its name.
        parameter: The parameter that names it.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    parameter: str


def own_policies(parameters: Parameters) -> tuple[OwnPolicy, ...]:
    """Return the runbook's policies, in the order in which its chapters apply them."""
    application, istio = parameters.application.namespace, parameters.istio.namespace
    mutual_tls, authorization = parameters.mutual_tls, parameters.authorization
    peer, rule = "PeerAuthentication", "DestinationRule"
    return (
        OwnPolicy(SECURITY_API, peer, istio, mutual_tls.policy, "mutual_tls.policy"),
        OwnPolicy(SECURITY_API, peer, application, mutual_tls.exception, "mutual_tls.exception"),
        OwnPolicy(
            "networking.istio.io/v1",
            rule,
            application,
            authorization.destination_rule,
            "authorization.destination_rule",
        ),
        OwnPolicy(
            SECURITY_API,
            "AuthorizationPolicy",
            application,
            authorization.policy,
            "authorization.policy",
        ),
    )


def istiod_name(parameters: Parameters) -> str:
    """The name of istiod's Deployment and Service, as its chart gives it: with the revision."""
    return of_revision(parameters, "istiod")


def of_revision(parameters: Parameters, name: str) -> str:
    """Return what istiod's chart calls an object: revisions have their names at the end."""
    revision = parameters.istio.revision
    return name if revision == "default" else f"{name}-{revision}"


def injection_label(parameters: Parameters) -> tuple[str, str]:
    """Return the label that asks for sidecars, key and value: a revision has its own."""
    revision = parameters.istio.revision
    return (INJECTION_LABEL, "enabled") if revision == "default" else (REVISION_LABEL, revision)
