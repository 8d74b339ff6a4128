"""A sidecar counts what it receives under Istio's names and labels."""

from __future__ import annotations

import re
import sys

import pytest

from runbook_lib.base.wait import State, until
from runbook_lib.lab.workloads.telemetry import CALLED, relabelling
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

POD = "xnat-xnat-web-0"


def _metrics(lab: Lab) -> str:
    """What Prometheus would read: the agent's port, where Envoy's metrics are merged in."""
    path = f"/api/v1/namespaces/xnat/pods/{POD}:15020/proxy/stats/prometheus"
    return lab.run("kubectl", "get", "--raw", path)


def _samples(text: str, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
    """All samples of a metric that have the labels."""
    found = []
    for match in re.finditer(rf"^{name}\{{(.*)\}} (\S+)$", text, re.MULTILINE):
        seen = dict(re.findall(r'(\w+)="([^"]*)"', match[1]))
        if labels.items() <= seen.items():
            found.append((seen, float(match[2])))
    return found


def test_requests_through_the_edge_are_counted_by_their_answer(mesh: Lab) -> None:
    """The edge's own health checks answer 200; nothing but this test is answered 405."""

    def count(name: str) -> float:
        return sum(value for _, value in _samples(_metrics(mesh), name, response_code="405"))

    before = count("istio_requests_total")
    for _ in range(5):
        assert mesh.request("DELETE").status_code == 405

    def observe() -> State:
        counted = count("istio_requests_total") - before
        return State(counted == 5, f"{counted:.0f} of 5 are counted")

    until("the requests in istio_requests_total", observe, timeout=20)
    # Histograms are merged into what is shown every few seconds.
    until(
        "the requests in the histogram of durations",
        lambda: State(count("istio_request_duration_milliseconds_count") >= 5, "not there yet"),
        timeout=20,
    )


def test_the_labels_are_istios(mesh: Lab) -> None:
    [(labels, _)] = _samples(
        _metrics(mesh),
        "istio_requests_total",
        response_code="200",
        connection_security_policy="none",
    )
    # Two Services have the port; as with Istio's own filter, the older one names it.
    service = labels.pop("destination_service_name")
    assert service in ("xnat-xnat-web", "xnat-xnat-web-headless")
    assert labels.pop("destination_service") == f"{service}.xnat.svc.cluster.local"
    assert labels == {
        "reporter": "destination",
        "source_workload": "unknown",
        "source_workload_namespace": "unknown",
        "source_canonical_service": "unknown",
        "source_canonical_revision": "unknown",
        "source_principal": "unknown",
        "source_app": "unknown",
        "source_version": "unknown",
        "source_cluster": "unknown",
        "destination_workload": "xnat-xnat-web",
        "destination_workload_namespace": "xnat",
        "destination_canonical_service": "xnat-web",
        "destination_canonical_revision": "1.9.3.1",
        "destination_principal": "unknown",
        "destination_app": "xnat-web",
        "destination_version": "1.9.3.1",
        "destination_service_namespace": "xnat",
        "destination_cluster": "Kubernetes",
        "request_protocol": "http",
        "response_code": "200",
        "response_flags": "-",
        "grpc_response_status": "",
        "connection_security_policy": "none",
    }


PAGE = "http://xnat-xnat-web/app/template/Login.vm"
ASK = f"import urllib.request; print(urllib.request.urlopen({PAGE!r}).status)"
IDENTITY = "spiffe://cluster.local/ns/xnat/sa/xnat-xnat-web"


def test_a_call_in_the_mesh_is_counted_at_both_ends(mesh: Lab) -> None:
    """The caller knows the workload that it calls; the receiver knows who calls."""
    pod = ("kubectl", "-n", "xnat", "exec", POD, "-c", "xnat", "--")
    assert mesh.run(*pod, sys.executable, "-c", ASK).strip() == "200"

    def observe() -> State:
        text = _metrics(mesh)
        called = _samples(text, "istio_requests_total", reporter="source")
        received = _samples(text, "istio_requests_total", connection_security_policy="mutual_tls")
        return State(bool(called and received), "not counted yet")

    until("the call in istio_requests_total", observe, timeout=20)
    [(called, _)] = _samples(_metrics(mesh), "istio_requests_total", reporter="source")
    assert called["source_workload"] == "xnat-xnat-web"
    assert called["destination_service"] == "xnat-xnat-web.xnat.svc.cluster.local"
    assert called[CALLED] == "xnat-xnat-web;xnat;xnat-web;1.9.3.1;Kubernetes"
    assert called["destination_principal"] == IDENTITY
    [(received, _)] = _samples(
        _metrics(mesh), "istio_requests_total", connection_security_policy="mutual_tls"
    )
    assert received["source_principal"] == IDENTITY


def test_prometheus_takes_the_called_workload_apart() -> None:
    parts = "web;xnat;web-canonical;latest;Kubernetes"
    labels = {}
    for rule in relabelling():
        if "target_label" in rule:
            match = re.fullmatch(rule["regex"], parts)
            assert match is not None
            labels[rule["target_label"]] = match[int(rule["replacement"].removeprefix("$"))]
    assert labels == {
        "destination_workload": "web",
        "destination_workload_namespace": "xnat",
        "destination_canonical_service": "web-canonical",
        "destination_canonical_revision": "latest",
        "destination_cluster": "Kubernetes",
    }


def test_the_filter_that_counts_belongs_to_the_pod_and_worries_nobody(mesh: Lab) -> None:
    """It goes with the pod, and `istioctl analyze` has nothing to say about it."""
    owner = "jsonpath={.metadata.ownerReferences[0].kind}/{.metadata.ownerReferences[0].name}"
    found = mesh.run("kubectl", "-n", "xnat", "get", "envoyfilter", POD, "-o", owner)
    assert found == f"Pod/{POD}"
    assert "EnvoyFilter" not in mesh.run("istioctl", "analyze", "-n", "xnat")
