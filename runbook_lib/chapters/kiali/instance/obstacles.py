"""What stands in the way of an exposure: classes that nothing serves, and rules of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runbook_lib.base import ClusterRefused
from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.kiali.instance import parts
from runbook_lib.chapters.kiali.instance.replacing import Replaced
from runbook_lib.chapters.shared.preflight.nodes import on_no_node
from runbook_lib.cluster import (
    CRD,
    CUSTOM_KINDS,
    NETWORKING,
    TLS_SECRET,
    Object,
    name_of,
    namespace_of,
    ref,
    reference,
    type_of_secret,
)
from runbook_lib.lifecycle import Context, Finding, Severity

_APPLICATION_BALANCERS = ("ingress.k8s.aws/alb", "eks.amazonaws.com/alb")
"""The controllers of application load balancers: the AWS Load Balancer Controller, and EKS Auto
Mode, which reads the same annotations; see
https://docs.aws.amazon.com/eks/latest/userguide/auto-configure-alb.html."""

_RETIRED = "k8s.io/ingress-nginx"
_RETIREMENT = "https://kubernetes.io/blog/2025/11/11/ingress-nginx-retirement/"

_KINDS = {
    "service.k8s.aws/nlb": "targetgroupbindings.elbv2.k8s.aws",
    "eks.amazonaws.com/nlb": "targetgroupbindings.eks.amazonaws.com",
}
"""The kind that comes with the controller of a class of load balancers."""

_TRIAL = "istio-runbook-trial"
_UNTRIED = ("cannot patch resource", "does not support dry run")
"""What the API server says of who may not try, and of webhooks that take part in no dry run."""


def find(context: Context, desired: Object, replaced: Iterable[Replaced]) -> Iterator[Finding]:
    """Find what is in the way of the ways in that a Kiali resource asks for.

    Args:
        context: Where.
        desired: The Kiali resource as it will be.
        replaced: What is deleted first.
    """
    yield from _ingress_class(context)
    yield from _certificate(context)
    yield from _load_balancer_class(context)
    yield from _family(context, desired)
    yield from on_no_node(context, [_pods_of(desired)], "kiali.spec.deployment.tolerations")
    going = {reference(each.item) for each in replaced}
    for item in parts.of(desired):
        yield from _refused(context, item, anew=reference(item) in going)


def _pods_of(desired: Object) -> Object:
    """Return the Deployment that the operator will make, as far as nodes matter.

    See https://kiali.io/docs/configuration/kialis.kiali.io/.
    """
    given = desired["spec"]["deployment"]
    spec = {
        "nodeSelector": given.get("node_selector") or {},
        "tolerations": given.get("tolerations") or [],
        "affinity": {"nodeAffinity": (given.get("affinity") or {}).get("node") or {}},
    }
    name = {"name": given["instance_name"], "namespace": given["namespace"]}
    return {"kind": "Deployment", "metadata": name, "spec": {"template": {"spec": spec}}}


def _family(context: Context, desired: Object) -> Iterator[Finding]:
    """Find that a load balancer of AWS would be made for addresses that no pod has.

    Targets of IPv6 need one that is dualstack, see
    https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/service/annotations/.
    """
    given = desired["spec"]["deployment"]
    if context.parameters.kiali.exposure == "nlb-tls":
        prefix, where = f"{manifest.NLB}-", "service_annotations"
        annotations = given[where]
    elif context.parameters.kiali.exposure == "alb-ingress":
        prefix, where = f"{manifest.ALB}/", "ingress.override_yaml.metadata.annotations"
        annotations = given["ingress"]["override_yaml"]["metadata"]["annotations"]
    else:
        return
    key = f"{prefix}ip-address-type"
    if key in annotations:
        return
    services = context.cluster.list("v1", "Service", "default")
    found = next((each for each in services if name_of(each) == "kubernetes"), None)
    if found is not None and found["spec"].get("ipFamilies") == ["IPv6"]:
        yield Finding(
            reference(desired),
            f"{key} is missing, and the cluster's addresses are of IPv6",
            "the load balancer would be for IPv4, and no pod of Kiali's could be its target",
            "say that it is to have both, in subnets that have both",
            (reference(found, ".spec.ipFamilies: [IPv6]"),),
            parameter=f"kiali.spec.deployment.{where}: {{{key}: dualstack}}",
        )


def _ingress_class(context: Context) -> Iterator[Finding]:
    name = manifest.ingress_class(context.parameters)
    if name is None:
        return
    where, key = ref("IngressClass", name), "kiali.ingress_class"
    classes = context.cluster.list(NETWORKING, "IngressClass")
    found = next((item for item in classes if name_of(item) == name), None)
    if found is None:
        others = ", ".join(sorted(map(name_of, classes))) or "none"
        yield Finding(
            where,
            "no such class",
            "no controller would serve Kiali's Ingress",
            f"install the controller; the classes that are there: {others}",
            parameter=key,
        )
        return
    controller = (found.get("spec") or {}).get("controller")
    if (
        context.parameters.kiali.exposure == "alb-ingress"
        and controller not in _APPLICATION_BALANCERS
    ):
        yield Finding(
            where,
            f"its controller is {controller}, which makes no application load balancers",
            "it would read none of the load balancer's settings",
            "name a class of the AWS Load Balancer Controller",
            parameter=f"kiali.exposure: ingress, and {key}: {name}",
        )
    if controller == _RETIRED:
        yield Finding(
            where,
            "its controller, ingress-nginx, was retired in March 2026",
            "it gets no security fixes any more",
            "move to a controller that is maintained, of Ingress or of the Gateway API",
            severity=Severity.NOTE,
            parameter=key,
            link=_RETIREMENT,
        )


def _certificate(context: Context) -> Iterator[Finding]:
    """Find that the certificate of an Ingress is not there: what it holds is not looked at."""
    kiali, namespace = context.parameters.kiali, context.parameters.istio.namespace
    if kiali.tls_secret is None:
        return
    where = ref("Secret", kiali.tls_secret, namespace)
    found = type_of_secret(context.cluster, kiali.tls_secret, namespace)
    if found == TLS_SECRET:
        yield Finding(
            where,
            f"it is there, and of type {TLS_SECRET}, so with a certificate and its key",
            f"whether they are for {kiali.host}, and until when, was not looked at",
            "look at the certificate alone, if in doubt",
            severity=Severity.NOTE,
        )
        return
    yield Finding(
        where,
        "there is none" if found is None else f"its type is {found}, and not {TLS_SECRET}",
        "the controller would serve Kiali with a certificate of its own, which browsers refuse",
        f"make it beside Kiali: kubectl --namespace {namespace} create secret tls "
        f"{kiali.tls_secret} --cert=FILE --key=FILE",
        parameter="kiali.tls_secret",
        # Before there is the namespace it cannot be made: chapter 01 has not been run.
        severity=Severity.REFUSES
        if context.cluster.get("v1", "Namespace", namespace)
        else Severity.NOTE,
    )


def _load_balancer_class(context: Context) -> Iterator[Finding]:
    """Say of a load balancer that no controller seems to be there for."""
    kiali = context.parameters.kiali
    if kiali.exposure not in manifest.WITH_BALANCER:
        return
    asked = kiali.load_balancer_class
    if asked is None and kiali.exposure != "nlb-tls":
        return  # whatever the cluster has for Services
    kinds = [_KINDS[asked]] if asked in _KINDS else [] if asked else list(_KINDS.values())
    if any(context.cluster.get(CUSTOM_KINDS, CRD, kind) is not None for kind in kinds):
        return
    if asked and _serves(context, asked):
        return
    missing = f"no kind {' or '.join(kinds)}" if kinds else "no Service of it has an address"
    yield Finding(
        ref("Service", kiali.name, context.parameters.istio.namespace),
        f"nothing shows a controller for {asked or 'network load balancers'}: {missing}",
        "without one the Service stays without an address",
        "install the AWS Load Balancer Controller, or see which classes other Services have",
        severity=Severity.NOTE,
        parameter="kiali.load_balancer_class",
    )


def _serves(context: Context, asked: str) -> bool:
    """Whether some Service of a class has got an address."""
    return any(
        item["spec"].get("loadBalancerClass") == asked
        and ((item.get("status") or {}).get("loadBalancer") or {}).get("ingress")
        for item in context.cluster.list("v1", "Service")
    )


def _refused(context: Context, item: Object, *, anew: bool) -> Iterator[Finding]:
    """Have the API server try what the operator will do: policies and webhooks are asked, too.

    What is made anew is tried under another name, because the old one is still there.
    """
    trial = item
    if anew:
        trial = {**item, "metadata": {**item["metadata"], "name": f"{name_of(item)}-trial"}}
    try:
        context.cluster.apply(trial, dry_run=True, force=True, manager=_TRIAL)
    except ClusterRefused as error:
        if error.status == 404 or any(said in error.cause for said in _UNTRIED):
            return  # no namespace yet, or it cannot be tried: the operator has rights of its own
        if anew and "exceeded quota" in error.cause:
            return  # the old one still counts
        yield Finding(
            reference(item),
            f"the API server would refuse it to the operator: {error.cause}",
            "the operator would fail at it, half-way through",
            "have that rule allow it; or add what it asks for, such as an annotation, under "
            f"kiali.spec.deployment (namespace {namespace_of(item)})",
            parameter="kiali.exposure",
        )
