"""Every way in is seen: whatever kind leads there, past Services, and for health checks alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.chapters.shared.outsiders import cut_off
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Finding
from tests.unit.doubles.given_cluster import WEB, context, pod, web_workload

DICOM: Object = {
    "kind": "Service",
    "metadata": {"name": "xnat-dicom", "namespace": "xnat"},
    "spec": {"selector": WEB, "ports": [{"port": 104, "name": "tcp-dicom", "targetPort": 8104}]},
}
GATEWAY = "gateway.networking.k8s.io"


def leading(version: str, kind: str, spec: Object, namespace: str = "xnat") -> Object:
    metadata = {"name": "scans", "namespace": namespace}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def routed(version: str, kind: str, /, **reference: Any) -> Object:
    backend = {"name": "xnat-dicom", "port": 104, **reference}
    return leading(version, kind, {"rules": [{"backendRefs": [backend]}]})


def found(folder: Path, *objects: Object, **application: Any) -> list[Finding]:
    site = context(folder, web_workload(), pod(), *objects, application=application)
    return list(cut_off(site))


TO_DICOM = {"name": "xnat-dicom", "port": 104}


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (
            leading("eks.amazonaws.com/v1", "TargetGroupBinding", {"serviceRef": TO_DICOM}),
            ".spec.serviceRef",
        ),
        (
            leading("elbv2.k8s.aws/v1beta1", "TargetGroupBinding", {"serviceRef": TO_DICOM}),
            ".spec.serviceRef",
        ),
        (routed(f"{GATEWAY}/v1", "TCPRoute"), ".spec.rules[0].backendRefs[0]"),
        (routed(f"{GATEWAY}/v1alpha2", "TCPRoute"), ".spec.rules[0].backendRefs[0]"),
        (routed(f"{GATEWAY}/v1alpha3", "TLSRoute"), ".spec.rules[0].backendRefs[0]"),
        (routed(f"{GATEWAY}/v1beta1", "HTTPRoute"), ".spec.rules[0].backendRefs[0]"),
        (routed(f"{GATEWAY}/v1", "GRPCRoute"), ".spec.rules[0].backendRefs[0]"),
        (
            leading(
                "traefik.io/v1alpha1",
                "IngressRouteTCP",
                {"routes": [{"services": [{"name": "xnat-dicom", "port": "tcp-dicom"}]}]},
            ),
            ".spec.routes[0].services[0]",
        ),
        (
            leading("traefik.containo.us/v1alpha1", "TraefikService", {"mirroring": {**TO_DICOM}}),
            ".spec.mirroring",
        ),
        (
            leading("projectcontour.io/v1", "HTTPProxy", {"tcpproxy": {"services": [TO_DICOM]}}),
            ".spec.tcpproxy.services[0]",
        ),
        (
            leading(
                "k8s.nginx.org/v1",
                "TransportServer",
                {"upstreams": [{"name": "any", "service": "xnat-dicom", "port": 104}]},
            ),
            ".spec.upstreams[0]",
        ),
        (
            leading(
                "configuration.konghq.com/v1beta1",
                "TCPIngress",
                {"rules": [{"backend": {"serviceName": "xnat-dicom", "servicePort": 104}}]},
            ),
            ".spec.rules[0].backend",
        ),
    ],
)
def test_whatever_leads_to_a_service_from_outside_is_named_with_its_field(
    tmp_path: Path, item: Object, field: str
) -> None:
    (finding,) = found(tmp_path, DICOM, item)
    assert f"({item['kind']} xnat/scans) leads to port 8104" in (finding.what)
    (evidence,) = finding.evidence
    assert evidence.startswith(f"{item['kind']} xnat/scans {field}: xnat/xnat-dicom:")
    assert finding.parameter == "application.plaintext_ports: [8104]"
    assert found(tmp_path, DICOM, item, plaintext_ports=[8104]) == []


def test_a_route_of_another_namespace_leads_to_the_service_that_it_names(tmp_path: Path) -> None:
    route = routed(f"{GATEWAY}/v1", "TCPRoute", namespace="xnat")
    route["metadata"]["namespace"] = "edge"
    (finding,) = found(tmp_path, DICOM, route)
    assert "TCPRoute edge/scans" in finding.what
    route["spec"]["rules"][0]["backendRefs"][0].pop("namespace")
    assert found(tmp_path, DICOM, route) == []


@pytest.mark.parametrize(
    "harmless",
    [
        routed(f"{GATEWAY}/v1", "TCPRoute", port=80),
        routed(f"{GATEWAY}/v1", "TCPRoute", kind="ServiceImport"),
        leading(
            "traefik.io/v1alpha1",
            "IngressRoute",
            {"routes": [{"services": [{**TO_DICOM, "kind": "TraefikService"}]}]},
        ),
        leading(
            f"{GATEWAY}/v1",
            "HTTPRoute",
            {
                "parentRefs": [{"kind": "Service", "name": "xnat-dicom"}],
                "rules": [{"backendRefs": [TO_DICOM]}],
            },
        ),
    ],
)
def test_what_leads_elsewhere_or_routes_calls_inside_the_mesh_is_let_be(
    tmp_path: Path, harmless: Object
) -> None:
    assert found(tmp_path, DICOM, harmless) == []


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        ("tcp-services", "xnat/xnat-dicom:104", True),
        ("edge-ingress-nginx-tcp", "xnat/xnat-dicom:tcp-dicom:PROXY:PROXY", True),
        ("tcp-services", "shop/xnat-dicom:104", False),
        ("udp-services", "xnat/xnat-dicom:104", False),
        ("notes", "see xnat/xnat-dicom:104", False),
    ],
)
def test_ports_that_ingress_nginx_passes_on_are_seen_whatever_their_configmap_is_called(
    tmp_path: Path, name: str, value: str, *, seen: bool
) -> None:
    passed_on = {
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "ingress-nginx"},
        "data": {"11112": value, "README": "xnat/xnat-dicom:104"},
    }
    findings = found(tmp_path, DICOM, passed_on)
    assert [f.evidence[0].partition(":")[0] for f in findings] == (
        [f"ConfigMap ingress-nginx/{name} .data.11112"] if seen else []
    )


def with_container(**port: Any) -> Object:
    workload = web_workload()
    workload["spec"]["template"]["spec"]["containers"] = [{"name": "xnat", "ports": [port]}]
    return workload


def test_a_port_of_the_nodes_is_a_way_in_that_the_template_names(tmp_path: Path) -> None:
    site = context(tmp_path, with_container(containerPort=8104, hostPort=11112), pod())
    (finding,) = cut_off(site)
    assert "StatefulSet xnat/xnat-xnat-web (hostPort 11112) leads to port 8104" in finding.what
    assert finding.evidence == (
        "StatefulSet xnat/xnat-xnat-web .spec.template.spec.containers[0].ports[0].hostPort: 11112",
    )
    udp = with_container(containerPort=8104, hostPort=11112, protocol="UDP")
    assert list(cut_off(context(tmp_path, udp, pod()))) == []


SITE: Object = {
    "kind": "Service",
    "metadata": {"name": "xnat-xnat-web", "namespace": "xnat"},
    "spec": {
        "selector": WEB,
        "ports": [
            {"port": 80, "name": "http", "targetPort": 8080, "nodePort": 30080},
            {"port": 81, "name": "health", "targetPort": 8081, "nodePort": 30081},
        ],
    },
}


def ingress(said: str, to: str = "ip") -> Object:
    prefix = "alb.ingress.kubernetes.io/"
    return {
        "kind": "Ingress",
        "metadata": {
            "name": "site",
            "namespace": "xnat",
            "annotations": {f"{prefix}healthcheck-port": said, f"{prefix}target-type": to},
        },
        "spec": {"defaultBackend": {"service": {"name": "xnat-xnat-web", "port": {"number": 80}}}},
    }


@pytest.mark.parametrize(
    ("said", "to", "port"),
    [
        ("8081", "ip", 8081),
        ("health", "ip", 8081),
        ("30081", "instance", 8081),
        ("health", "instance", 8081),
        ("8081", "instance", None),
        ("30080", "instance", None),
        ("traffic-port", "ip", None),
        ("8080", "ip", None),
        ("15021", "ip", None),
    ],
)
def test_health_checks_on_a_port_of_their_own_are_not_cut_off(
    tmp_path: Path, said: str, to: str, port: int | None
) -> None:
    findings = found(tmp_path, SITE, ingress(said, to))
    assert [f.parameter for f in findings] == (
        [f"application.plaintext_ports: [{port}]"] if port else []
    )
    for finding in findings:
        assert "health checks to port 8081" in finding.what
        assert "503" in finding.effect
        key = "alb.ingress.kubernetes.io/healthcheck-port"
        assert finding.evidence == (f"Ingress xnat/site .metadata.annotations.{key}: {said}",)
    assert found(tmp_path, SITE, ingress(said, to), plaintext_ports=[8081]) == []


def test_health_checks_of_a_network_load_balancer_are_seen(tmp_path: Path) -> None:
    key = "service.beta.kubernetes.io/aws-load-balancer-healthcheck-port"
    balanced = {
        **SITE,
        "metadata": {**SITE["metadata"], "annotations": {key: "9000"}},
        "spec": {
            "selector": WEB,
            "type": "LoadBalancer",
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    }
    (finding,) = found(tmp_path, balanced)
    assert finding.evidence == (f"Service xnat/xnat-xnat-web .metadata.annotations.{key}: 9000",)
    assert finding.parameter == "application.plaintext_ports: [9000]"
