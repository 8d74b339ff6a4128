"""The lab's DNS answers as Kubernetes specifies it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dnslib import QTYPE, DNSRecord  # type: ignore[import-untyped]

from runbook_lib.lab.network.directory import Directory
from runbook_lib.lab.network.dns import Dns

Object = dict[str, Any]


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "xnat"}, "spec": spec}


def slice_of(name: str, *endpoints: Object) -> Object:
    labels = {"kubernetes.io/service-name": name}
    return {
        "metadata": {"name": f"{name}-1", "namespace": "xnat", "labels": labels},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": list(endpoints),
    }


LISTS = {
    "/api/v1/services": [
        service("web", clusterIP="10.96.0.20"),
        service("database", clusterIP="None"),
        service("outside", type="ExternalName", externalName="example.org"),
    ],
    "/apis/discovery.k8s.io/v1/endpointslices": [
        slice_of(
            "database",
            {"addresses": ["10.244.1.2"], "hostname": "database-0", "conditions": {"ready": True}},
            {"addresses": ["10.244.1.3"], "hostname": "database-1", "conditions": {"ready": False}},
        )
    ],
}


class Api:
    """Lists what there is, and tells of no change."""

    async def watch(self, path: str) -> Any:
        yield "SYNC", {"items": LISTS[path]}


@pytest.fixture(scope="module")
def dns() -> Dns:
    directory = Directory(Api())  # type: ignore[arg-type]
    asyncio.run(directory.run())
    return Dns(directory)


def ask(dns: Dns, name: str, kind: str = "A") -> tuple[str, list[str]]:
    """The code of the answer, and its records."""
    reply = DNSRecord.parse(dns.answer(DNSRecord.question(name, kind).pack()))
    codes = {0: "NOERROR", 3: "NXDOMAIN"}
    return codes[reply.header.rcode], [f"{QTYPE[r.rtype]} {r.rdata}" for r in reply.rr]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("web.xnat.svc.cluster.local", ["A 10.96.0.20"]),
        ("WEB.xnat.svc.cluster.local.", ["A 10.96.0.20"]),
        ("database.xnat.svc.cluster.local", ["A 10.244.1.2"]),
        ("database-0.database.xnat.svc.cluster.local", ["A 10.244.1.2"]),
        ("outside.xnat.svc.cluster.local", ["CNAME example.org."]),
    ],
)
def test_names_of_services_and_pods(dns: Dns, name: str, answer: list[str]) -> None:
    assert ask(dns, name) == ("NOERROR", answer)


@pytest.mark.parametrize(
    "name",
    [
        "web.other.svc.cluster.local",
        "database-1.database.xnat.svc.cluster.local",  # it is not ready
        "metadata.google.internal",
        "web.xnat",
        "cluster.local",
    ],
)
def test_other_names_do_not_exist(dns: Dns, name: str) -> None:
    assert ask(dns, name) == ("NXDOMAIN", [])


def test_a_name_without_a_record_of_that_type_exists_all_the_same(dns: Dns) -> None:
    """Else a resolver that asks for IPv6 first would give up."""
    assert ask(dns, "web.xnat.svc.cluster.local", "AAAA") == ("NOERROR", [])


def test_what_is_no_question_is_not_answered(dns: Dns) -> None:
    assert dns.answer(b"\0\1") == b""
