"""The node takes as many pods as it says, simulated ones included."""

from __future__ import annotations

import ipaddress
import json
import os

import pytest

from runbook_lib.base.wait import State, until
from runbook_lib.lab.foundation.addresses import POD_CAPACITY, SIMULATED_NETWORK
from tests.labs import Lab

PODS = int(os.environ.get("RUNBOOK_PODS", "50"))
"""How many are started; `make test-pods` fills the node, and tries one more."""

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(600)]


def test_many_pods_run_and_the_site_with_them(lab: Lab) -> None:
    fits = min(PODS, POD_CAPACITY - len(lab.run("kubectl", "get", "pods", "-Ao", "name").split()))
    lab.run("kubectl", "create", "deployment", "many", "--image=nginx", f"--replicas={PODS}")

    def observe() -> State:
        text = lab.run("kubectl", "get", "deployment", "many", "--output=json")
        ready = json.loads(text)["status"].get("readyReplicas", 0)
        return State(ready == fits, f"{ready} of {fits} are ready")

    until("the pods to be ready", observe, timeout=500, interval=1)
    pods = json.loads(lab.run("kubectl", "get", "pods", "--output=json"))["items"]
    addresses = {pod["status"]["podIP"] for pod in pods if pod["status"]["phase"] == "Running"}
    assert len(addresses) == fits
    network = ipaddress.ip_network(SIMULATED_NETWORK)
    assert all(ipaddress.ip_address(each) in network for each in addresses)
    assert len([pod for pod in pods if pod["status"]["phase"] == "Pending"]) == PODS - fits
    assert lab.request("GET").status_code == 200
    lab.run("kubectl", "delete", "deployment", "many", "--cascade=foreground")
