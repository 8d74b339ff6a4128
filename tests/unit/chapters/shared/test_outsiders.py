"""No port that leads outside is closed unseen, and no other team's namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.chapters.policies.authorization import service_ports
from runbook_lib.chapters.shared.outsiders import (
    cut_off,
    doors_of_others,
    namespaces_of_others,
    note_on_ports,
)
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import require
from tests.unit.doubles.given_cluster import WEB, context, pod

SCANNING = {
    "name": "web",
    "ports": [
        {"containerPort": 8080, "name": "http"},
        {"containerPort": 8104, "name": "dicom"},
    ],
}


def service(name: str, *ports: Object, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "xnat"}
    return {
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": WEB, "ports": list(ports), **spec},
    }


def port(number: int, target: int | str | None = None, **more: Any) -> Object:
    return {"port": number, **({"targetPort": target} if target else {}), **more}


def ingress(spec: Object) -> Object:
    return {
        "kind": "Ingress",
        "metadata": {"name": "scans", "namespace": "xnat"},
        "spec": spec,
    }


def workload(*containers: Object) -> Object:
    template = {"metadata": {"labels": WEB}, "spec": {"containers": list(containers)}}
    metadata = {"name": "xnat-xnat-web", "namespace": "xnat"}
    return {"kind": "StatefulSet", "metadata": metadata, "spec": {"template": template}}


SITE = service("xnat-xnat-web", port(80, 8080, name="http"))
DICOM = service("xnat-dicom", port(104, "dicom", name="tcp-dicom"))
BY_NUMBER = {"service": {"name": "xnat-dicom", "port": {"number": 104}}}
BY_NAME = {"service": {"name": "xnat-dicom", "port": {"name": "tcp-dicom"}}}


def note(folder: Path, *objects: Object, **application: Any) -> str:
    found = context(folder, *objects, application=application)
    require(cut_off(found))
    return note_on_ports(found, "nobody gets through")


def outside(kind: str, number: int = 104, target: int | str | None = "dicom") -> Object:
    return service("xnat-dicom", port(number, target), type=kind)


def binding(to: int | str) -> Object:
    return {
        "kind": "TargetGroupBinding",
        "metadata": {"name": "scans", "namespace": "xnat"},
        "spec": {"serviceRef": {"name": "xnat-dicom", "port": to}},
    }


@pytest.mark.parametrize(
    ("objects", "how"),
    [
        ([outside("LoadBalancer")], "LoadBalancer"),
        ([outside("NodePort")], "NodePort"),
        ([outside("LoadBalancer", 11112, 8104)], "LoadBalancer"),
        ([outside("LoadBalancer", 8104, None)], "LoadBalancer"),
        ([service("xnat-dicom", port(8104), externalIPs=["192.0.2.1"])], "externalIPs"),
        ([DICOM, ingress({"defaultBackend": BY_NUMBER})], "Ingress xnat/scans"),
        (
            [DICOM, ingress({"rules": [{"http": {"paths": [{"backend": BY_NAME}]}}]})],
            "Ingress xnat/scans",
        ),
        ([DICOM, binding(104)], "TargetGroupBinding xnat/scans"),
        ([DICOM, binding("tcp-dicom")], "TargetGroupBinding xnat/scans"),
    ],
)
def test_a_port_that_leads_outside_is_not_closed(
    tmp_path: Path, objects: list[Object], how: str
) -> None:
    with pytest.raises(RunbookError) as caught:
        note(tmp_path, SITE, *objects, pod("xnat-xnat-web-0", SCANNING))
    assert f"Service xnat/xnat-dicom ({how}) leads to port 8104" in caught.value.cause
    assert "application.plaintext_ports: [8104]" in caught.value.remedy
    known = (SITE, *objects, pod("xnat-xnat-web-0", SCANNING))
    assert note(tmp_path, *known, plaintext_ports=[8104]) == ""


def test_all_ports_that_lead_outside_are_named_with_those_that_are_known(tmp_path: Path) -> None:
    leading = service("out", port(9000), port(9001), port(9002), type="LoadBalancer")
    with pytest.raises(RunbookError, match=r"port 9001; .* port 9002") as caught:
        note(tmp_path, leading, pod(), plaintext_ports=[9000])
    assert "application.plaintext_ports: [9000, 9001, 9002]" in caught.value.remedy


def test_what_the_workload_would_make_counts_where_no_pod_is(tmp_path: Path) -> None:
    with pytest.raises(RunbookError, match="leads to port 8104"):
        note(tmp_path, outside("LoadBalancer"), workload(SCANNING))


def test_a_port_that_only_the_cluster_reaches_is_mentioned(tmp_path: Path) -> None:
    assert note(tmp_path, SITE, DICOM, pod("xnat-xnat-web-0", SCANNING)) == (
        "Port 8104 of the web pods is reached through Service xnat/xnat-dicom, from the cluster "
        "alone: nobody gets through."
    )


@pytest.mark.parametrize(
    "harmless",
    [
        service("site", port(80, "http"), type="LoadBalancer"),
        service("names", port(53, 5353, protocol="UDP"), type="LoadBalancer"),
        service("others", port(80, 9000), type="LoadBalancer", selector={"app": "others"}),
        service("by-hand", port(80, 9000), type="LoadBalancer", selector=None),
        service("nowhere", port(80, "no-such-name"), type="LoadBalancer"),
        ingress({"defaultBackend": {"resource": {"kind": "Bucket", "name": "static"}}}),
    ],
)
def test_what_does_not_lead_to_another_port_is_let_be(tmp_path: Path, harmless: Object) -> None:
    assert note(tmp_path, SITE, harmless, pod()) == ""


def test_an_ingress_to_the_site_says_nothing_about_another_port(tmp_path: Path) -> None:
    both = service("xnat-dicom", port(80, 8080), port(104, 8104))
    to_site = ingress(
        {"defaultBackend": {"service": {"name": "xnat-dicom", "port": {"number": 80}}}}
    )
    assert note(tmp_path, both, to_site, pod()).startswith("Port 8104")


def policy(namespace: str, mode: str, **spec: Any) -> Object:
    return {
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": {"mtls": {"mode": mode}, **spec},
    }


SHOP = pod("shop-0", namespace="shop", labels={"app": "shop"})
OWN_PORT = {
    "selector": {"matchLabels": {"app": "shop"}},
    "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}},
}


@pytest.mark.parametrize(
    ("objects", "named"),
    [
        ([], []),
        ([pod()], []),
        ([SHOP, pod("b", namespace="bank"), pod("c", namespace="bank")], ["bank", "shop"]),
        ([pod("shop-0", namespace="shop", sidecar=False)], []),
        ([{**SHOP, "status": {"phase": "Succeeded"}}], []),
        # A gateway is a proxy alone.
        ([pod("gateway", {"name": "istio-proxy"}, namespace="shop", sidecar=False)], []),
        # Where a policy of their own decides, the mesh-wide one changes nothing.
        ([SHOP, policy("shop", "PERMISSIVE")], []),
        ([SHOP, policy("shop", "STRICT")], []),
        ([SHOP, policy("shop", "UNSET")], ["shop"]),
        ([SHOP, policy("shop", "UNSET", **OWN_PORT)], ["shop"]),
        ([SHOP, policy("istio-system", "STRICT")], ["shop"]),
        ([SHOP, policy("bank", "PERMISSIVE")], ["shop"]),
    ],
)
def test_namespaces_where_the_mesh_wide_policy_decides_are_named(
    tmp_path: Path, objects: list[Object], named: list[str]
) -> None:
    assert namespaces_of_others(context(tmp_path, *objects)) == named


def test_ways_in_to_other_pods_of_the_application_are_named(tmp_path: Path) -> None:
    archive = {"app": "archive"}
    to_archive = service("archive", port(4242, 8080), type="LoadBalancer", selector=archive)
    within = service("inner", port(80, 8080), selector=archive)
    own = policy("xnat", "PERMISSIVE", selector={"matchLabels": archive})
    there = (pod(), pod("archive-0", labels=archive), SITE, to_archive, within)
    assert doors_of_others(context(tmp_path, *there)) == ["Service xnat/archive (LoadBalancer)"]
    assert doors_of_others(context(tmp_path, *there, own)) == []
    site = service("site", port(80, 8080), type="LoadBalancer")
    assert doors_of_others(context(tmp_path, pod(), site)) == []
    on_the_node = {"name": "archive", "ports": [{"containerPort": 4242, "hostPort": 4242}]}
    reached = pod("archive-0", on_the_node, labels=archive)
    assert doors_of_others(context(tmp_path, reached)) == ["Pod xnat/archive-0 (hostPort 4242)"]
    outside_the_mesh = pod("archive-0", labels=archive, sidecar=False)
    assert doors_of_others(context(tmp_path, outside_the_mesh, to_archive)) == []


def test_callers_in_the_mesh_speak_plaintext_to_every_port_that_does(tmp_path: Path) -> None:
    """The DestinationRule would have them speak mutual TLS to the rest of the web Service."""
    both = service("xnat-xnat-web", port(80, 8080), port(104, "dicom"), port(9000))
    given = {"plaintext_ports": [8104]}
    found = context(tmp_path, both, workload(SCANNING), application=given)
    assert service_ports(found) == [80, 104]
