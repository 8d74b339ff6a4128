"""What is around the application: Istio, the AWS Load Balancer Controller, autoscalers."""

from __future__ import annotations

from dataclasses import dataclass

from runbook_lib.base import KindNotInstalled
from runbook_lib.cluster import (
    APPS,
    REVISION_LABEL,
    Object,
    labels_of,
    name_of,
    namespace_of,
    pods,
)
from runbook_lib.lifecycle import Context

_CONTROLLER = "aws-load-balancer-controller"
"""The name of its Deployment and of its chart's label, see its chart's `fullname`."""


@dataclass(frozen=True)
class Istiod:
    """A control plane that is there already.

    Attributes:
        namespace: Where it is.
        version: By its image's tag.
        revision: Its revision.
    """

    namespace: str
    version: str
    revision: str


def istiods(context: Context) -> list[Istiod]:
    """Return the control planes of the cluster."""
    return [
        Istiod(
            namespace_of(each),
            _tag(each),
            labels_of(each).get(REVISION_LABEL, "default"),
        )
        for each in context.cluster.list(APPS, "Deployment", None, {"app": "istiod"})
    ]


def load_balancer_controller(context: Context) -> str:
    """Say which AWS Load Balancer Controller there is; empty if there is none.

    EKS Auto Mode has it out of sight, and says so by the controller of its IngressClass, see
    https://docs.aws.amazon.com/eks/latest/userguide/auto-configure-alb.html.
    """
    labels = {"app.kubernetes.io/name": _CONTROLLER}
    for each in context.cluster.list(APPS, "Deployment", None, labels):
        return f"AWS Load Balancer Controller {_tag(each)} in {namespace_of(each)}"
    for each in context.cluster.list("networking.k8s.io/v1", "IngressClass"):
        if str((each.get("spec") or {}).get("controller")).startswith("eks.amazonaws.com/"):
            return f"EKS Auto Mode, by IngressClass {name_of(each)}"
    return ""


def autoscalers(context: Context) -> list[str]:
    """Return the namespace's HorizontalPodAutoscalers in words."""
    namespace = context.parameters.application.namespace
    try:
        found = context.cluster.list("autoscaling/v2", "HorizontalPodAutoscaler", namespace)
    except KindNotInstalled:
        return []
    return [_autoscaler(each) for each in sorted(found, key=name_of)]


def _autoscaler(item: Object) -> str:
    spec = item["spec"]
    of = spec["scaleTargetRef"]
    metrics = ", ".join(
        str(
            (each.get("resource") or each.get("containerResource") or {}).get("name")
            or each["type"]
        )
        for each in spec.get("metrics") or []
    )
    return f"{name_of(item)} scales {of['kind']}/{of['name']} by {metrics or 'nothing'}"


def _tag(item: Object) -> str:
    """Return the version in the tag of a Deployment's first image; empty if it has none."""
    return pods.tag_of(next(iter(pods.images([item])), "")).removeprefix("v")
