"""Rules about Kiali, where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from runbook_lib.chapters.kiali import access as kiali_access
from runbook_lib.chapters.kiali import status as kiali_status
from runbook_lib.cluster import name_of, namespace_of, reference
from runbook_lib.diagnosis import Cause, Observation, registry
from runbook_lib.mesh import rollout

_ISTIO = "https://istio.io/latest/docs/ops/integrations/kiali/"
_PODS = "https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/"
_TOKENS = (
    "https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/"
    "#bound-service-account-tokens"
)


_rule = partial(registry.rule, registry.Area.KIALI, "06_kiali")


@_rule(order=400, needs=("kiali",))
def kiali_failed(seen: Observation) -> Iterator[Cause]:
    """The operator says that it failed."""
    state = kiali_status.state(seen.kiali)
    if seen.kiali is not None and state.failed:
        yield Cause(
            reference(seen.kiali),
            "Kiali's operator could not do what the resource asks for",
            "Kiali is not as the resource describes it",
            f"run notebook 06_kiali; read: {kiali_access.operator_log_command(seen.parameters)}",
            (reference(seen.kiali, f".status.conditions: {state.text}"),),
            link=_ISTIO,
        )


@_rule(order=410, needs=("kiali_deployment",), explained_by=("kiali-failed",))
def kiali_down(seen: Observation) -> Iterator[Cause]:
    """Kiali's Deployment is there, and no pod of it serves."""
    deployment = seen.kiali_deployment
    if deployment is None or (deployment.get("status") or {}).get("availableReplicas", 0):
        return
    namespace, name = namespace_of(deployment), name_of(deployment)
    replicas = deployment["spec"].get("replicas", 1)
    scaled = replicas == 0
    yield Cause(
        reference(deployment),
        "Kiali is scaled to 0" if scaled else "no pod of Kiali is ready",
        "Kiali does not answer; the application and the mesh are not concerned",
        f"kubectl --namespace {namespace} "
        + (f"scale deployment/{name} --replicas=1" if scaled else f"describe deployment/{name}"),
        (
            reference(deployment, f".spec.replicas: {replicas}"),
            reference(deployment, f".status: {rollout.progress(deployment)[1]}"),
        ),
        link=_PODS,
    )


@_rule(order=420, needs=("token",))
def kiali_token(seen: Observation) -> Iterator[Cause]:
    """A token with which somebody cannot log in is none that the cluster accepts."""
    if seen.token is None or not seen.token.refused:
        return
    minutes = seen.parameters.kiali.token_minutes
    yield Cause(
        "token",
        "the token has expired, is of another cluster, or its account is gone",
        "logging in to Kiali fails with 401",
        f"make a new one: kubectl --namespace {seen.parameters.istio.namespace} create token "
        f"{seen.parameters.kiali.name}-service-account --duration={minutes}m; or press the button "
        "in notebook 06_kiali",
        (f"the API server's TokenReview: {seen.token.refused}",),
        link=_TOKENS,
    )
