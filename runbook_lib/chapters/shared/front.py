"""What stands in front of the web pods, told by looking at the objects that lead to them.

What users see of a port that refuses plaintext depends on it, and whose addresses the pods see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from runbook_lib.base import ClusterRefused
from runbook_lib.chapters.shared import leading
from runbook_lib.cluster import (
    NETWORKING,
    Object,
    annotations_of,
    has_sidecar,
    name_of,
    reference,
)
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import templates, web_pods
from runbook_lib.mesh.policy import serves, spec_of

_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_CLASS = "kubernetes.io/ingress.class"
_NLB = "service.beta.kubernetes.io/aws-load-balancer-"
_HOST = re.compile(
    r".*\.(elb\.(?P<network>[a-z0-9-]+)|[a-z0-9-]+\.elb)\.amazonaws\.com(\.cn)?", re.ASCII
)
"""Names of load balancers: network ones have the region last, see
https://docs.aws.amazon.com/general/latest/gr/elb.html."""

_PODS_NAME = "app.kubernetes.io/name"


@dataclass(frozen=True)
class Kind:
    """A kind of load balancer.

    Attributes:
        name: What it is called.
        closed: What callers get from it where the pods close its connections.
        sources: Whose addresses the pods see.
        checks: How it looks after the pods' health.
        pods: The label `app.kubernetes.io/name` of its own pods; empty if it has none.
    """

    name: str
    closed: str
    sources: str
    checks: str
    pods: str = ""


_ITS_OWN = "its own"
_PLAINTEXT = "its health checks are plaintext as well"
_KUBELETS = "it relies on the kubelet's probes, which sidecars answer for the pods"

ALB = Kind("an application load balancer of AWS", "502, 503 or 504", _ITS_OWN, _PLAINTEXT)
NLB = Kind(
    "a network load balancer of AWS",
    "a closed connection",
    "the clients', or its own where client addresses are not kept",
    "its health checks are TCP unless annotations say HTTP, and then plaintext",
)
CLASSIC = Kind(
    "a classic load balancer of AWS",
    "502, 503 or 504, and of a TCP listener a closed connection",
    "its own, or those of the nodes",
    _PLAINTEXT,
)
_PROXY = {
    name: Kind(name, closed, "those of its pods", _KUBELETS, pods)
    for name, closed, pods in (
        ("ingress-nginx", "502", "ingress-nginx"),
        ("NGINX's ingress controller", "502", "nginx-ingress"),
        ("Traefik", "502", "traefik"),
        ("HAProxy", "502 or 503", "kubernetes-ingress"),
        ("HAProxy Ingress", "502 or 503", "haproxy-ingress"),
        ("Contour", "503", "contour"),
        ("Kong", "502", "kong"),
    )
}
_ISTIOS = Kind(
    "a gateway of Istio's", "nothing of it: it speaks mutual TLS", "those of its pods", _KUBELETS
)

_CONTROLLERS = {
    "ingress.k8s.aws/alb": ALB,
    "eks.amazonaws.com/alb": ALB,
    "k8s.io/ingress-nginx": _PROXY["ingress-nginx"],
    "nginx.org/ingress-controller": _PROXY["NGINX's ingress controller"],
    "traefik.io/ingress-controller": _PROXY["Traefik"],
    "haproxy.org/ingress-controller": _PROXY["HAProxy"],
    "haproxy-ingress.github.io/controller": _PROXY["HAProxy Ingress"],
    "ingress-controllers.konghq.com/kong": _PROXY["Kong"],
    "istio.io/ingress-controller": _ISTIOS,
}
"""By the `spec.controller` of an IngressClass; some add a name of their own after a slash."""

_ROUTES = {
    "IngressRoute": _PROXY["Traefik"],
    "IngressRouteTCP": _PROXY["Traefik"],
    "TraefikService": _PROXY["Traefik"],
    "HTTPProxy": _PROXY["Contour"],
    "VirtualServer": _PROXY["NGINX's ingress controller"],
    "TransportServer": _PROXY["NGINX's ingress controller"],
    "TCPIngress": _PROXY["Kong"],
    "ConfigMap": _PROXY["ingress-nginx"],
}
"""By the kind of what leads to a Service, where that says it."""

_CLASSES = {"service.k8s.aws/nlb": NLB, "eks.amazonaws.com/nlb": NLB}
"""By `spec.loadBalancerClass`: of the AWS Load Balancer Controller, and of EKS Auto Mode."""


@dataclass(frozen=True)
class Front:
    """One thing in front of the web pods.

    Attributes:
        kind: What it is; None if that is not known.
        shown: The field that shows it.
        meshed: Whether its own pods have sidecars, so that it speaks mutual TLS.
    """

    kind: Kind | None
    shown: str
    meshed: bool = False

    @property
    def text(self) -> str:
        """It in a sentence."""
        if self.kind is None:
            return (
                f"What stands in front by {self.shown} is not known: nor what callers get from it "
                "where pods refuse plaintext, nor whose addresses the pods see."
            )
        if self.meshed:
            return f"In front is {self.kind.name} ({self.shown}), whose pods are in the mesh."
        return (
            f"In front is {self.kind.name} ({self.shown}): where pods refuse plaintext callers get "
            f"{self.kind.closed}; the addresses that pods see are {self.kind.sources}; "
            f"{self.kind.checks}."
        )


def in_front(context: Context) -> list[Front]:
    """Return what stands in front of the web pods, each once."""
    port = context.parameters.application.web.port
    made = templates.web(context)
    pods = web_pods(context.cluster, context.parameters) or ([made.pod] if made else [])
    namespace = context.parameters.application.namespace
    services = {
        name_of(each): each
        for each in context.cluster.list("v1", "Service", namespace)
        if any(serves(each, pod) for pod in pods)
    }
    found = [
        _of_lead(context, lead)
        for lead in leading.leads(context)
        if lead.service in services and _carries(services[lead.service], lead.port, port)
    ]
    found += [
        _of_service(each)
        for each in services.values()
        if spec_of(each).get("type") == "LoadBalancer" and _carries(each, None, port)
    ]
    return list(dict.fromkeys(found))


def closed(context: Context) -> str:
    """Say what callers from outside get where the web port refuses plaintext."""
    kinds = [each.kind for each in in_front(context) if not each.meshed]
    if not kinds or None in kinds:
        return "an error, or a closed connection"
    return " or ".join(dict.fromkeys(kind.closed for kind in kinds if kind is not None))


def _carries(service: Object, asked: int | str | None, web: int) -> bool:
    """Whether a way through a Service may lead to the web port: names of ports are not followed."""
    for entry in spec_of(service).get("ports") or []:
        if asked in (None, entry["port"], entry.get("name")):
            target = entry.get("targetPort", entry["port"])
            if target == web or isinstance(target, str):
                return True
    return False


def _of_lead(context: Context, lead: leading.Lead) -> Front:
    item = lead.item
    if item["kind"] == "Ingress":
        kind, shown = _by_class(context, item)
    else:
        kind, shown = _ROUTES.get(item["kind"]), reference(item)
    return Front(kind, shown, kind is not None and _meshed(context, kind))


def _by_class(context: Context, ingress: Object) -> tuple[Kind | None, str]:
    try:
        classes = {name_of(e): e for e in context.cluster.list(NETWORKING, "IngressClass")}
    except ClusterRefused:
        return None, reference(ingress)
    named = spec_of(ingress).get("ingressClassName") or annotations_of(ingress).get(_CLASS)
    if named is None:
        defaults = (n for n, e in classes.items() if annotations_of(e).get(_DEFAULT) == "true")
        named = next(defaults, "")
    controller = str(spec_of(classes[named]).get("controller")) if named in classes else named
    kind = next(
        (k for key, k in _CONTROLLERS.items() if f"{controller}/".startswith(f"{key}/")), None
    )
    if kind is None and any(key.startswith("alb.") for key in annotations_of(ingress)):
        kind = ALB
    return kind, reference(ingress, f"of the class {named}" if named else "of no class")


def _of_service(service: Object) -> Front:
    spec, annotations = spec_of(service), annotations_of(service)
    said = spec.get("loadBalancerClass")
    if said is not None:
        return Front(_CLASSES.get(said), reference(service, f".spec.loadBalancerClass: {said}"))
    kind = annotations.get(f"{_NLB}type")
    if kind in ("nlb", "nlb-ip", "external"):
        return Front(NLB, leading.annotation(service, f"{_NLB}type"))
    for entry in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []:
        host = str(entry.get("hostname") or "")
        if found := _HOST.fullmatch(host):
            by_name = NLB if found["network"] else CLASSIC
            return Front(by_name, reference(service, f".status.loadBalancer: {host}"))
    return Front(None, reference(service, ".spec.type: LoadBalancer"))


def _meshed(context: Context, kind: Kind) -> bool:
    """Whether the pods of a proxy have sidecars: they are told by the label of its chart."""
    if not kind.pods:
        return kind is _ISTIOS
    found = context.cluster.list("v1", "Pod", None, {_PODS_NAME: kind.pods})
    return bool(found) and all(map(has_sidecar, found))
