"""Istio's sample add-ons run as real programs on the lab, and see its real traffic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from runbook_lib.base.wait import State, until
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

SYSTEM = "istio-system"


def _kiali(lab: Lab) -> str:
    """Istio's sample Kiali with the lab's version, logging in by token, behind a load balancer."""
    sample = Path(lab.state.addons["prometheus"]).with_name("kiali.yaml").read_text()
    documents = [each for each in yaml.safe_load_all(sample) if each]
    for each in documents:
        if each["kind"] == "Deployment":
            [container] = each["spec"]["template"]["spec"]["containers"]
            container["image"] = "quay.io/kiali/kiali:v1.89.0"
        elif each["kind"] == "Service":
            each["spec"]["type"] = "LoadBalancer"
        elif each["kind"] == "ConfigMap":
            config = yaml.safe_load(each["data"]["config.yaml"])
            config["auth"]["strategy"] = "token"
            url = f"http://tracing.{SYSTEM}/jaeger"
            config["external_services"]["tracing"] = {
                "enabled": True,
                "use_grpc": False,
                "internal_url": url,
            }
            each["data"]["config.yaml"] = yaml.safe_dump(config)
    return yaml.safe_dump_all(documents)


@pytest.fixture(scope="module")
def addons(mesh: Lab) -> Iterator[Lab]:
    """The mesh with both add-ons and Kiali, all of them ready."""
    for manifest in mesh.state.addons.values():
        mesh.run("kubectl", "apply", "-f", manifest)
    mesh.run("kubectl", "apply", "-f", "-", stdin=_kiali(mesh))
    for name in ("prometheus", "jaeger", "kiali"):
        mesh.run(
            *("kubectl", "-n", SYSTEM, "rollout", "status", f"deployment/{name}"),
            "--timeout=90s",
        )
    yield mesh
    mesh.run("kubectl", "delete", "-f", "-", stdin=_kiali(mesh))
    for manifest in mesh.state.addons.values():
        mesh.run("kubectl", "delete", "-f", manifest)


@pytest.fixture(scope="module")
def kiali(addons: Lab) -> Iterator[httpx.Client]:
    """Kiali through its load balancer, nobody logged in."""

    def observe() -> State:
        return State(bool(_address(addons)), "the Service has no address yet")

    until("an address of the load balancer's stand-in", observe, timeout=20)
    with httpx.Client(
        base_url=f"http://{_address(addons)}:20001/kiali", trust_env=False, timeout=30
    ) as client:
        yield client


def _address(lab: Lab) -> str:
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    return lab.run("kubectl", "-n", SYSTEM, "get", "service", "kiali", "-o", path)


def _ask(lab: Lab, service: str, path: str) -> Any:
    """A GET through the API server's proxy to a Service."""
    base = f"/api/v1/namespaces/{SYSTEM}/services/{service}/proxy"
    return json.loads(lab.run("kubectl", "get", "--raw", f"{base}/{path}"))


def _pod_ip(lab: Lab, namespace: str, selector: str) -> str:
    path = "jsonpath={.items[0].status.podIP}"
    return lab.run("kubectl", "-n", namespace, "get", "pods", "-l", selector, "-o", path)


def _targets(lab: Lab) -> dict[str, dict[str, str]]:
    """Prometheus's targets by URL."""
    answer = _ask(lab, "prometheus:9090", "api/v1/targets")
    return {each["scrapeUrl"]: each for each in answer["data"]["activeTargets"]}


def test_prometheus_scrapes_istiod_sidecars_and_addons(addons: Lab) -> None:
    """All pods are up but the database, whose chart's NetworkPolicy opens nothing but 5432.

    The kubelet is not: KWOK plays it, and counts no containers.
    """
    istiod = f"http://{_pod_ip(addons, SYSTEM, 'app=istiod')}:15014/metrics"
    sidecar = f"http://{_pod_ip(addons, 'xnat', 'app=xnat-web')}:15020/stats/prometheus"
    jaeger = f"http://{_pod_ip(addons, SYSTEM, 'app=jaeger')}:8888/metrics"
    postgresql = "app.kubernetes.io/name=postgresql"
    database = f"http://{_pod_ip(addons, 'xnat', postgresql)}:15020/stats/prometheus"

    def observe() -> State:
        targets = _targets(addons)
        health = {url: each["health"] for url, each in targets.items()}
        pods = {url: health[url] for url, each in targets.items() if _is_pod(each)}
        expected = {istiod, sidecar, jaeger} <= set(pods)
        asked = "unknown" not in health.values()
        down = {url for url, each in pods.items() if each != "up"}
        return State(expected and asked and down == {database}, f"{health}")

    until("the first scrapes", observe, timeout=60, interval=1)
    others = {
        each["scrapePool"]: each["health"]
        for each in _targets(addons).values()
        if not _is_pod(each)
    }
    assert others == {
        "prometheus": "up",
        "kubernetes-api-servers": "up",
        "kubernetes-nodes": "down",
        "kubernetes-nodes-cadvisor": "down",
    }


def _is_pod(target: dict[str, str]) -> bool:
    return target["scrapeUrl"].startswith("http://10.244.")


def test_jaeger_answers_and_keeps_what_it_is_sent(addons: Lab) -> None:
    """A span sent to Zipkin's port comes back from the query API."""
    span = {
        "traceId": "5af7183fb1d4cf5f5af7183fb1d4cf5f",
        "id": "352bff9a74ca9ad2",
        "name": "get /",
        "timestamp": 1795497071000000,
        "duration": 1000,
        "localEndpoint": {"serviceName": "from-the-test"},
    }
    pod = addons.run("kubectl", "-n", SYSTEM, "get", "pods", "-l", "app=jaeger", "-o", "name")
    path = f"/api/v1/namespaces/{SYSTEM}/pods/{pod.strip().split('/')[1]}:9411/proxy/api/v2/spans"
    addons.run("kubectl", "create", "--raw", path, "-f", "-", stdin=json.dumps([span]), check=False)

    def observe() -> State:
        services = _ask(addons, "tracing:80", "jaeger/api/services")["data"] or []
        return State("from-the-test" in services, f"services: {services}")

    until("the service of the span", observe, timeout=20)


def test_kiali_refuses_a_wrong_token(kiali: httpx.Client) -> None:
    assert kiali.post("/api/authenticate", data={"token": "wrong"}).status_code == 401
    assert kiali.get("/api/namespaces").status_code == 401


def test_kiali_lets_its_reader_see_the_mesh(addons: Lab, kiali: httpx.Client) -> None:
    """Logged in by TokenRequest: namespaces, mutual TLS, and each component's health."""
    token = addons.run("kubectl", "-n", SYSTEM, "create", "token", "kiali").strip()
    assert kiali.post("/api/authenticate", data={"token": token}).status_code == 200
    assert "xnat" in {each["name"] for each in kiali.get("/api/namespaces").json()}
    assert kiali.get("/api/mesh/tls").json()["status"] == "MTLS_NOT_ENABLED"
    health = {each["name"]: each["status"] for each in kiali.get("/api/istio/status").json()}
    assert {name: health[name] for name in ("istiod", "prometheus", "tracing")} == dict.fromkeys(
        ("istiod", "prometheus", "tracing"), "Healthy"
    )


def test_kialis_graph_shows_the_traffic(addons: Lab, kiali: httpx.Client) -> None:
    """Prometheus needs two scrapes, 15 s apart, to tell a rate."""

    def observe() -> State:
        assert addons.request("GET").status_code == 200
        query = {"namespaces": "xnat", "duration": "60s", "graphType": "workload"}
        graph = kiali.get("/api/namespaces/graph", params=query).json()["elements"]
        names = {each["data"]["id"]: each["data"].get("workload") for each in graph["nodes"]}
        edges = [
            (names[edge["data"]["source"]], names[edge["data"]["target"]])
            for edge in graph["edges"]
        ]
        return State(("unknown", "xnat-xnat-web") in edges, f"edges: {edges}")

    until("an edge of the graph", observe, timeout=90, interval=2)


def test_the_load_balancers_address_shows_kialis_page(kiali: httpx.Client) -> None:
    page = kiali.get("/")
    assert page.status_code == 200
    assert "Kiali's server runs here" in page.text
