"""The lab's metrics API: real processes measured, loads played, the rest named as simulated."""

from __future__ import annotations

import json
import sys
from typing import Any

import httpx
import pytest

from runbook_lib.base.wait import State, until
from runbook_lib.lab.foundation.state import marked_processes
from runbook_lib.lab.metrics.server import PLAYED_LOAD
from runbook_lib.lab.workloads.pods import parse_quantity
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

PODS = "/apis/metrics.k8s.io/v1beta1/namespaces/xnat/pods"
WEB = "xnat-xnat-web-0"


def usages(lab: Lab, selector: str = "") -> dict[str, dict[str, Any]]:
    """Each pod's metrics by its name."""
    answer = json.loads(lab.run("kubectl", "get", "--raw", f"{PODS}?labelSelector={selector}"))
    return {item["metadata"]["name"]: item for item in answer["items"]}


def cpu_of(item: dict[str, Any], container: str) -> float:
    """CPU of a container in thousandths of a core."""
    found = {each["name"]: each["usage"]["cpu"] for each in item["containers"]}
    return int(found[container].removesuffix("n")) / 1e6


def until_measured(lab: Lab) -> dict[str, dict[str, Any]]:
    until("metrics of the web pod", lambda: State(WEB in usages(lab), "none yet"), timeout=20)
    return usages(lab)


def play(lab: Lab, load: str) -> None:
    annotation = f"{PLAYED_LOAD}={load}" if load else f"{PLAYED_LOAD}-"
    lab.run("kubectl", "-n", "xnat", "annotate", "pod", WEB, annotation, "--overwrite")


def test_kubectl_top_shows_the_containers_of_every_pod(lab: Lab) -> None:
    until_measured(lab)
    shown = lab.run("kubectl", "top", "pods", "-n", "xnat", "--containers")
    rows = [line.split() for line in shown.splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        ["xnat-postgresql-0", "postgresql"],
        [WEB, "plugin-logs"],
        [WEB, "xnat"],
    ]


def test_a_process_is_measured_and_a_simulated_container_says_so(lab: Lab) -> None:
    found = until_measured(lab)
    process = next(
        p for p in marked_processes(lab.name) if "standins.xnat" in " ".join(p.cmdline())
    )
    usage = {each["name"]: each["usage"] for each in found[WEB]["containers"]}
    measured = parse_quantity(usage["xnat"]["memory"])
    assert measured == pytest.approx(process.memory_info().rss, rel=0.2)
    lab.run("kubectl", "-n", "xnat", "run", "other", "--image=example.invalid/other:1")
    try:
        until("metrics of the other pod", lambda: State("other" in usages(lab), "none"), timeout=20)
        simulated = usages(lab)["other"]
        assert simulated["metadata"]["labels"]["lab.istio-runbook/runtime"] == "simulated"
        assert cpu_of(simulated, "other") == 1
    finally:
        lab.run("kubectl", "-n", "xnat", "delete", "pod", "other", "--wait")


def test_work_shows_as_usage(lab: Lab) -> None:
    idle = cpu_of(until_measured(lab)[WEB], "xnat")

    def busy() -> State:
        with httpx.Client(trust_env=False) as client:
            for _ in range(50):
                client.get(lab.state.url)
        seen = cpu_of(usages(lab)[WEB], "xnat")
        return State(seen > idle + 20, f"{seen:.0f}m")

    until("work to show", busy, timeout=30, interval=0.01)


def test_a_selector_chooses_pods(lab: Lab) -> None:
    until_measured(lab)
    assert list(usages(lab, "app%3Dxnat-web")) == [WEB]
    one = json.loads(lab.run("kubectl", "get", "--raw", f"{PODS}/{WEB}"))
    assert one["kind"] == "PodMetrics"
    assert "NotFound" in lab.run("kubectl", "get", "--raw", f"{PODS}/nobody", check=False)


def test_a_played_load_replaces_what_was_measured(lab: Lab) -> None:
    until_measured(lab)
    play(lab, '{"xnat": "80m"}')
    try:
        assert cpu_of(usages(lab)[WEB], "xnat") == 80
    finally:
        play(lab, "")
    assert cpu_of(usages(lab)[WEB], "xnat") != 80


def test_a_load_that_cannot_be_read_is_an_error_that_names_the_pod(lab: Lab) -> None:
    until_measured(lab)
    play(lab, "80m")
    try:
        answer = lab.run("kubectl", "get", "--raw", PODS, check=False)
    finally:
        play(lab, "")
    assert f"pod xnat/{WEB}" in answer
    assert PLAYED_LOAD in answer


def test_nobody_but_the_api_server_reaches_the_metrics_server(lab: Lab) -> None:
    """It trusts what the front proxy says about who asks, so it talks to nobody else."""
    script = (
        "import http.client, ssl\n"
        "c = http.client.HTTPSConnection("
        "'metrics-server.kube-system', 4443, context=ssl._create_unverified_context())\n"
        f"c.request('GET', '{PODS}')\n"
        "print(c.getresponse().status)\n"
    )
    pod = ("-n", "xnat", "exec", WEB, "--", sys.executable, "-c", script)
    said = lab.run("kubectl", *pod, check=False)
    # Without a certificate of its own; when the client hears of it depends on the moment.
    assert "RemoteDisconnected" in said or "CERTIFICATE_REQUIRED" in said
