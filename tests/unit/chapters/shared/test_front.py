"""What stands in front of the web pods is told by what leads to them, or said not to be known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.chapters.shared import front
from runbook_lib.cluster.objects import Object
from tests.unit.doubles.given_cluster import WEB, context, pod, web_workload

SERVICE: Object = {
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "xnat"},
    "spec": {"type": "ClusterIP", "selector": WEB, "ports": [{"port": 80, "targetPort": 8080}]},
}
ELB = "xnat-1.eu-west-1.elb.amazonaws.com"
NLB = "xnat-1.elb.eu-west-1.amazonaws.com"


def balanced(host: str = "", annotations: Any = None, **spec: Any) -> Object:
    metadata = {**SERVICE["metadata"], "annotations": annotations or {}}
    status = {"loadBalancer": {"ingress": [{"hostname": host}] if host else []}}
    spec = {**SERVICE["spec"], "type": "LoadBalancer", **spec}
    return {**SERVICE, "metadata": metadata, "spec": spec, "status": status}


def ingress(name: str | None = "way", annotations: Any = None) -> Object:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    spec: Object = {"defaultBackend": backend}
    if name:
        spec["ingressClassName"] = name
    metadata = {"name": "in", "namespace": "xnat", "annotations": annotations or {}}
    return {"kind": "Ingress", "metadata": metadata, "spec": spec}


def ingress_class(controller: str, **annotations: str) -> Object:
    metadata = {"name": "way", "annotations": annotations}
    return {"kind": "IngressClass", "metadata": metadata, "spec": {"controller": controller}}


def route(version: str, kind: str, **spec: Any) -> Object:
    metadata = {"name": "in", "namespace": "xnat"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def looking(folder: Path, *objects: Object) -> Any:
    services = [] if any(each["kind"] == "Service" for each in objects) else [SERVICE]
    return context(folder, pod(), web_workload(), *services, *objects)


@pytest.mark.parametrize(
    ("objects", "name", "closed"),
    [
        ([ingress(), ingress_class("ingress.k8s.aws/alb")], "application", "502, 503 or 504"),
        ([ingress(), ingress_class("eks.amazonaws.com/alb")], "application", "502, 503 or 504"),
        (
            [ingress("alb", {"alb.ingress.kubernetes.io/target-type": "ip"})],
            "application",
            "502, 503 or 504",
        ),
        ([balanced(loadBalancerClass="service.k8s.aws/nlb")], "network", "a closed connection"),
        ([balanced(loadBalancerClass="eks.amazonaws.com/nlb")], "network", "a closed connection"),
        (
            [balanced(annotations={"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"})],
            "network",
            "a closed connection",
        ),
        ([balanced(NLB)], "network", "a closed connection"),
        ([balanced(ELB)], "classic", "502, 503 or 504"),
        ([ingress(), ingress_class("k8s.io/ingress-nginx")], "ingress-nginx", "502"),
        ([ingress(), ingress_class("nginx.org/ingress-controller")], "NGINX", "502"),
        ([ingress(), ingress_class("traefik.io/ingress-controller")], "Traefik", "502"),
        (
            [ingress(), ingress_class("haproxy.org/ingress-controller/haproxy")],
            "HAProxy",
            "502 or 503",
        ),
        (
            [
                ingress(None),
                ingress_class(
                    "traefik.io/ingress-controller",
                    **{"ingressclass.kubernetes.io/is-default-class": "true"},
                ),
            ],
            "Traefik",
            "502",
        ),
        (
            [
                route(
                    "traefik.io/v1alpha1",
                    "IngressRoute",
                    routes=[{"services": [{"name": "web", "port": 80}]}],
                )
            ],
            "Traefik",
            "502",
        ),
    ],
)
def test_it_is_told_by_class_annotation_or_name(
    tmp_path: Path, objects: list[Object], name: str, closed: str
) -> None:
    found = looking(tmp_path, *objects)
    (seen,) = front.in_front(found)
    assert seen.kind is not None
    assert name in seen.kind.name
    assert closed in front.closed(found)
    assert "health checks" in seen.text or "kubelet" in seen.text


@pytest.mark.parametrize(
    "objects",
    [
        [ingress(), ingress_class("example.com/their-own")],
        [ingress()],
        [balanced(loadBalancerClass="example.com/metal")],
        [balanced("203.0.113.7")],
        [
            route(
                "gateway.networking.k8s.io/v1",
                "HTTPRoute",
                rules=[{"backendRefs": [{"name": "web", "port": 80}]}],
            )
        ],
        [
            route(
                "eks.amazonaws.com/v1", "TargetGroupBinding", serviceRef={"name": "web", "port": 80}
            )
        ],
    ],
)
def test_what_is_not_known_is_said(tmp_path: Path, objects: list[Object]) -> None:
    found = looking(tmp_path, *objects)
    (seen,) = front.in_front(found)
    assert seen.kind is None
    assert "is not known" in seen.text
    assert front.closed(found) == "an error, or a closed connection"


def test_a_proxy_whose_pods_have_sidecars_loses_nothing(tmp_path: Path) -> None:
    proxy = pod("nginx-0", namespace="ingress", labels={"app.kubernetes.io/name": "ingress-nginx"})
    objects = [ingress(), ingress_class("k8s.io/ingress-nginx"), proxy]
    (seen,) = front.in_front(looking(tmp_path, *objects))
    assert seen.meshed
    assert "in the mesh" in seen.text


def test_what_leads_to_other_ports_or_pods_stands_in_front_of_others(tmp_path: Path) -> None:
    elsewhere = balanced(ELB, selector={"app": "other"})
    dicom = balanced(ELB, ports=[{"port": 104, "targetPort": 8104}])
    assert front.in_front(looking(tmp_path, elsewhere)) == []
    assert front.in_front(looking(tmp_path, dicom)) == []
