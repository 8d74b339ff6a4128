"""A pod's spec is read as a kubelet reads it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from runbook_lib.lab.control_plane import kwok
from runbook_lib.lab.foundation import addresses
from runbook_lib.lab.workloads import images, pods, probes

NODE = {"cpu": 8, "memory": 2**33}


def _pod(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-0", "namespace": "xnat", "labels": {"app": "web"}},
        "spec": {"containers": list(containers), "initContainers": list(init)},
    }


def _container(image: str, **fields: Any) -> dict[str, Any]:
    return {"name": "c", "image": image, **fields}


@pytest.mark.parametrize(
    ("image", "program"),
    [
        ("registry.example/testing/pilot:latest", "pilot"),
        ("registry.example/proxyv2@sha256:0", "proxyv2"),
        ("lab.invalid/xnat-stand-in:1", "xnat-stand-in"),
        ("registry.example/autopilot:1", None),
        ("registry.example/pilot/other:1", None),
        ("nginx", None),
    ],
)
def test_an_image_decides_what_runs(image: str, program: str | None) -> None:
    assert images.program_of(image) == program


def test_python_and_kwok_read_the_same_expression() -> None:
    """KWOK's stages leave alone exactly the pods that the runtime takes."""
    [expression] = re.findall(r'test\("(.+)"\)', kwok._HAS_PROCESS)
    assert expression == images.PROCESS_IMAGE


def test_env_resolves_fields_references_and_limits() -> None:
    container = _container(
        "r/proxyv2:1",
        env=[
            {"name": "NS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "HOST", "value": "$(APP).$(NS).$(UNKNOWN).$$(NS)"},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
        ],
        envFrom=[{"secretRef": {"name": "s"}, "prefix": "OF_"}],
    )
    pod = _pod(container)
    read = pods.containers(pod)[0]
    assert pods.sources(read) == {("Secret", "s"), ("ConfigMap", "m")}
    assert pods.environment(read, pod, NODE, {("Secret", "s"): {"k": "v"}}) == {
        "OF_k": "v",
        "SECRET": "v",
        "NS": "xnat",
        "APP": "web",
        "HOST": "web.xnat.$(UNKNOWN).$(NS)",
        "CPU": "8",
    }


def test_limits_round_up_to_whole_units() -> None:
    container = _container(
        "r/proxyv2:1",
        resources={"limits": {"cpu": "1500m"}},
        env=[{"name": "N", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
    )
    pod = _pod(container)
    assert pods.environment(pods.containers(pod)[0], pod, NODE, {})["N"] == "2"


@pytest.mark.parametrize(
    ("text", "number"), [("100m", 0.1), ("2", 2), ("1Gi", 2**30), ("1.5", 1.5), ("3M", 3e6)]
)
def test_quantities(text: str, number: float) -> None:
    assert pods.parse_quantity(text) == number


def test_a_quantity_that_is_not_understood_is_named() -> None:
    with pytest.raises(ValueError, match="12parsec"):
        pods.parse_quantity("12parsec")


def test_init_containers_start_first_and_end_unless_they_are_sidecars() -> None:
    init = (
        {"name": "istio-init", "image": "r/proxyv2:1"},
        {
            "name": "istio-proxy",
            "image": "r/proxyv2:1",
            "args": ["proxy", "sidecar"],
            "restartPolicy": "Always",
        },
    )
    pod = _pod(_container("lab.invalid/xnat-stand-in:1"), init=init)
    assert [(c.name, c.program, c.ends, c.sidecar) for c in pods.containers(pod)] == [
        ("istio-init", "proxyv2", True, False),
        ("istio-proxy", "proxyv2", False, True),
        ("c", "xnat-stand-in", False, False),
    ]
    assert pods.has_sidecar(pod)


def test_a_pod_with_a_sidecar_among_its_containers_is_injected_too() -> None:
    init = ({"name": "istio-init", "image": "r/proxyv2:1"},)
    classic = {"name": "istio-proxy", "image": "r/proxyv2:1", "args": ["proxy", "sidecar"]}
    assert pods.has_sidecar(_pod(_container("r/other:1"), classic, init=init))
    assert not pods.has_sidecar(_pod(_container("r/other:1"), init=init))


def test_a_probe_is_read_with_kubernetes_defaults() -> None:
    container = _container("r/pilot:1", readinessProbe={"tcpSocket": {"port": 1}})
    probe = probes.probe(pods.containers(_pod(container))[0], "readinessProbe")
    assert probe is not None
    assert (probe.delay, probe.period, probe.timeout, probe.failures) == (0, 10, 1, 3)
    assert probes.probe(pods.containers(_pod(container))[0], "livenessProbe") is None


def test_six_hundred_pods_have_addresses_of_their_own() -> None:
    given = {addresses.pod_ip(number) for number in range(addresses.POD_CAPACITY)}
    assert len(given) == 600
    assert addresses.NODE_IP not in given
    third = {int(address.split(".")[2]) for address in given}
    # The rest is for pods without a process.
    assert addresses.SIMULATED_NETWORK == "10.244.128.0/17"
    assert max(third) < 128
