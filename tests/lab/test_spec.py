"""A pod's spec is read as a kubelet reads it."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.lab.control_plane import kubelet
from runbook_lib.lab.foundation import ports
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.workloads import images, pods
from runbook_lib.lab.workloads.programs import PodNetwork, has_sidecar

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
    [expression] = re.findall(r'test\("(.+)"\)', kubelet._HAS_PROCESS)
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
        ],
    )
    pod = _pod(container)
    assert pods.environment(pods.containers(pod)[0], pod, NODE) == {
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
    assert pods.environment(pods.containers(pod)[0], pod, NODE)["N"] == "2"


@pytest.mark.parametrize(
    ("text", "number"), [("100m", 0.1), ("2", 2), ("1Gi", 2**30), ("1.5", 1.5), ("3M", 3e6)]
)
def test_quantities(text: str, number: float) -> None:
    assert pods.parse_quantity(text) == number


def test_a_quantity_that_is_not_understood_is_named() -> None:
    with pytest.raises(ValueError, match="12parsec"):
        pods.parse_quantity("12parsec")


def test_init_containers_start_first_and_only_sidecars_have_programs() -> None:
    init = (
        {"name": "istio-init", "image": "r/proxyv2:1"},
        {"name": "istio-proxy", "image": "r/proxyv2:1", "restartPolicy": "Always"},
    )
    pod = _pod(_container("lab.invalid/xnat-stand-in:1"), init=init)
    assert [(c.name, c.program, c.sidecar) for c in pods.containers(pod)] == [
        ("istio-init", None, False),
        ("istio-proxy", "proxyv2", True),
        ("c", "xnat-stand-in", False),
    ]
    assert has_sidecar(pod)


def test_a_named_probe_port_is_looked_up() -> None:
    container = _container(
        "r/pilot:1",
        ports=[{"name": "web", "containerPort": 8080}],
        readinessProbe={"httpGet": {"path": "/ready", "port": "web"}, "periodSeconds": 3},
    )
    probe = pods.http_probe(pods.containers(_pod(container))[0], "readinessProbe")
    assert probe == pods.HttpProbe("/ready", 8080, 3.0, 1.0, 3)


def test_pods_have_two_addresses_on_loopback() -> None:
    addresses = ports.Addresses(40)
    assert addresses.outside_of("10.244.1.7") == "127.40.1.7"
    assert addresses.inside_of("10.244.1.7") == "127.41.1.7"


def test_the_sidecar_takes_the_outside_address() -> None:
    """The application moves inside, at its usual port on both sides if that is free."""
    web = _container("lab.invalid/xnat-stand-in:1", ports=[{"containerPort": 45871}])
    sidecar = {"name": "istio-proxy", "image": "r/proxyv2:1", "restartPolicy": "Always"}
    addresses = ports.Addresses(200)
    alone = PodNetwork.plan(_pod(web), "10.244.9.9", addresses)
    meshed = PodNetwork.plan(_pod(web, init=(sidecar,)), "10.244.9.9", addresses)
    assert alone.local[45871] == alone.exposed[45871] == ("127.200.9.9", 45871)
    assert meshed.exposed[45871] == ("127.200.9.9", 45871)
    assert meshed.local[45871] == ("127.201.9.9", 45871)


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.202.9.9", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.bindable("127.202.9.9", port)
        assert ports.choose_port("127.202.9.9", port) != port


def test_a_free_port_is_given_once_and_kept_for_its_server() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    given = [ports.free_port() for _ in range(100)]
    assert len(set(given)) == 100
    assert max(given) < lowest
    # A server listens there, on all interfaces too; another lab that looks for one does not get it.
    assert all(ports.bindable(ports.LOOPBACK, port) for port in given)
    assert ports.bindable("0.0.0.0", given[0])
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((ports.LOOPBACK, given[0]))


def test_where_every_port_is_ephemeral_the_kernel_chooses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "range").write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_EPHEMERAL", tmp_path / "range")
    assert ports.bindable(ports.LOOPBACK, ports.free_port())


def test_labs_choose_addresses_that_no_other_has() -> None:
    free = ports.choose_addresses(set()).outside
    ports._claims.pop().close()
    taken = set(range(16, 250, 2)) - {free}
    assert ports.choose_addresses(taken).outside == free
    # It is claimed at once: another lab may be starting at this moment.
    with pytest.raises(LabError, match="every pair of loopback networks is taken"):
        ports.choose_addresses(taken)
    ports._claims.pop().close()
