"""The lab's network is a cluster's: names, Services, policies, and the ways in from outside."""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from runbook_lib.base.wait import State, until
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(180)]

Object = dict[str, Any]
IMAGE = "lab.invalid/xnat-stand-in:1"
PAGE = "app/template/Login.vm"
"""What the image serves without being asked to log in."""


def pod(name: str, **spec: Any) -> Object:
    """A pod that serves on 8080."""
    container = {"name": "web", "image": IMAGE, "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], **spec},
    }


def service(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": "server"},
            "ports": [{"name": "http", "port": 8081, "targetPort": "http"}],
            **spec,
        },
    }


def apply(lab: Lab, *objects: Object) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    lab.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(listed))


@pytest.fixture(scope="module")
def pair(lab: Lab) -> Lab:
    """Two pods, `caller` and `server`, and Services of several kinds in front of the second."""
    headless = service("headless", clusterIP="None")
    apply(lab, pod("caller"), pod("server"), service("server"), headless)
    lab.run("kubectl", "wait", "--for=condition=Ready", "pod/caller", "pod/server", "--timeout=60s")
    return lab


ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=2).status)"


def until_answer(lab: Lab, url: str, *, opens: bool) -> None:
    def observe() -> State:
        output = lab.run(
            *("kubectl", "exec", "caller", "--", sys.executable, "-c", ASK, url), check=False
        )
        return State(output.startswith("200") is opens, output[-300:])

    until(f"{url} to be {'open' if opens else 'closed'}", observe, timeout=30)


@pytest.mark.parametrize(
    "host",
    [
        "server:8081",
        "server.default.svc.cluster.local:8081",
        "headless:8080",
        "server.default:8081",
    ],
)
def test_names_of_services_lead_to_their_pods(pair: Lab, host: str) -> None:
    until_answer(pair, f"http://{host}/{PAGE}", opens=True)


def test_other_names_do_not_exist(pair: Lab) -> None:
    script = "import socket; socket.gethostbyname('nowhere.default')"
    failed = pair.run("kubectl", "exec", "caller", "--", sys.executable, "-c", script, check=False)
    assert "Name or service not known" in failed


def test_a_pod_reaches_itself_through_its_service(pair: Lab) -> None:
    script = (
        "kubectl",
        "exec",
        "server",
        "--",
        sys.executable,
        "-c",
        ASK,
        f"http://server.default:8081/{PAGE}",
    )
    assert pair.run(*script).strip() == "200"


def test_a_networkpolicy_closes_and_opens(pair: Lab) -> None:
    policy: Object = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "server"},
        "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "ingress": []},
    }
    url = f"http://server:8081/{PAGE}"
    until_answer(pair, url, opens=True)
    apply(pair, policy)
    until_answer(pair, url, opens=False)
    # The kubelet's probes come from the node, which a policy does not close out.
    assert "1/1" in pair.run("kubectl", "get", "pod", "server")
    peer = {"podSelector": {"matchLabels": {"app": "caller"}}}
    policy["spec"]["ingress"] = [{"from": [peer], "ports": [{"port": "http"}]}]
    apply(pair, policy)
    until_answer(pair, url, opens=True)
    pair.run("kubectl", "delete", "networkpolicy", "server")


def outside(lab: Lab, name: str, path: str) -> str:
    """Something of a Service, once it is there."""
    query = ("kubectl", "get", "service", name, "--output", f"jsonpath={path}")
    until(path, lambda: State(bool(lab.run(*query)), "not there yet"), timeout=20)
    return lab.run(*query)


def test_a_load_balancer_answers_on_the_services_own_port(pair: Lab) -> None:
    apply(pair, service("balanced", type="LoadBalancer"))
    address = outside(pair, "balanced", "{.status.loadBalancer.ingress[0].ip}")
    assert address.startswith("127.")
    assert httpx.get(f"http://{address}:8081/{PAGE}", trust_env=False).status_code == 200


def test_a_node_port_answers_on_the_nodes_external_address(pair: Lab) -> None:
    apply(pair, service("on-node", type="NodePort"))
    port = int(outside(pair, "on-node", "{.spec.ports[0].nodePort}"))
    kind = "jsonpath={.items[0].status.addresses[?(@.type=='ExternalIP')].address}"
    address = pair.run("kubectl", "get", "nodes", "--output", kind)

    def observe() -> State:
        # The gate takes connections a moment before kube-proxy knows where they go.
        try:
            seen = httpx.get(f"http://{address}:{port}/{PAGE}", timeout=2, trust_env=False)
        except httpx.HTTPError as error:
            return State(False, repr(error))
        return State(seen.status_code == 200, f"answers {seen.status_code}")

    until(f"{address}:{port}", observe, timeout=20)


@pytest.fixture
def secured(pair: Lab) -> Iterator[int]:
    """An Ingress with HTTPS; its port on the host."""
    backend = {"service": {"name": "server", "port": {"number": 8081}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    notes = {"listen-ports": '[{"HTTPS": 443}]', "target-type": "ip"}
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "secured",
            "annotations": {f"alb.ingress.kubernetes.io/{key}": it for key, it in notes.items()},
        },
        "spec": {
            "ingressClassName": "alb",
            "rules": [{"host": "site.example", "http": {"paths": [path]}}],
        },
    }
    apply(pair, ingress)
    found = ("kubectl", "get", "ingress", "secured", "--output")
    query = "jsonpath={.status.loadBalancer.ingress[0].ports[0].port}"
    until("the port", lambda: State(bool(pair.run(*found, query)), "no port yet"), timeout=20)
    yield int(pair.run(*found, query))
    pair.run("kubectl", "delete", "ingress", "secured")


def test_an_ingress_with_https_shows_a_certificate_of_the_labs(pair: Lab, secured: int) -> None:
    url = f"https://localhost:{secured}/{PAGE}"
    trusted = ssl.create_default_context(cafile=pair.state.authority)
    with httpx.Client(verify=trusted, trust_env=False) as client:

        def observe() -> State:
            try:
                answer = client.get(url, headers={"Host": "site.example"})
            except httpx.HTTPError as error:
                return State(False, repr(error))
            return State(answer.status_code == 200, f"{answer.status_code}")

        until("the site over HTTPS", observe, timeout=20)
        other = client.get(url, headers={"Host": "other.example"})
    assert other.status_code == 404
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(url, trust_env=False)
