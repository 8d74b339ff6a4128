"""Who is depended on is restarted first, and the reason names the place that says so."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.cluster import Object, name_of
from runbook_lib.init import order
from runbook_lib.init.looking import Facts
from runbook_lib.init.order import Order
from tests.unit.doubles.applications import Change, objects, on_cluster
from tests.unit.doubles.given_cluster import pod

WEB = ("StatefulSet", "xnat-xnat-web")
DATABASE = "StatefulSet/xnat-postgresql"


def of(change: Change = lambda item: item, *more: Object) -> Order:
    return order.of(Facts.look(on_cluster(*objects(change=change), *more)), WEB)


def names(found: Order) -> list[str]:
    return [each.workload for each in found.entries]


def workload(name: str, *, kind: str = "Deployment", **container: Any) -> Object:
    labels = {"app": name}
    own = {"name": name, "image": name, **container}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "xnat"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [own]}},
        },
    }


def service(name: str, port: int = 80, **spec: Any) -> Object:
    ports = [{"port": port}]
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "xnat"},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


def without(*texts: str) -> Change:
    """Leave the database's host out of the web pods' settings."""

    def change(item: Object) -> Object:
        if item["kind"] == "StatefulSet" and name_of(item) == WEB[1]:
            spec = item["spec"]["template"]["spec"]
            spec["initContainers"] = []
            spec["containers"][0]["env"] = [{"name": "JDBC", "value": each} for each in texts]
        return item

    return change


def test_the_database_comes_before_the_web_pods_whose_environment_names_it() -> None:
    found = of()
    assert names(found) == [DATABASE, "/".join(WEB)]
    assert "env PGHOST of container xnat names its Service xnat-postgresql" in (
        found.entries[0].reason
    )
    assert not found.uncertain


@pytest.mark.parametrize(
    "text",
    [
        "jdbc:postgresql://xnat-postgresql/xnat",
        "xnat-postgresql.xnat.svc.cluster.local:5432",
        "xnat-postgresql-0.xnat-postgresql-hl.xnat.svc",
        "--host=xnat-postgresql",
    ],
)
def test_a_host_is_found_wherever_it_stands(text: str) -> None:
    assert "env JDBC" in of(without(text)).entries[0].reason


@pytest.mark.parametrize(
    "text", ["my-xnat-postgresql", "xnat-postgresql2", "xnat-postgresql.other.svc"]
)
def test_a_longer_name_or_another_namespace_is_not_the_service(text: str) -> None:
    assert "a guess" in of(without(text)).entries[0].reason


def test_a_database_that_nothing_names_is_known_by_its_port_and_said_to_be_a_guess() -> None:
    found = of(without())
    assert names(found) == [DATABASE, "/".join(WEB)]
    assert "5432, the port of PostgreSQL" in found.entries[0].reason
    assert "a guess" in found.entries[0].reason


def test_a_config_map_tells_as_well() -> None:
    def change(item: Object) -> Object:
        item = without()(item)
        if item["kind"] == "StatefulSet" and name_of(item) == WEB[1]:
            container = item["spec"]["template"]["spec"]["containers"][0]
            container["envFrom"] = [{"configMapRef": {"name": "settings"}}]
        return item

    settings = {
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "xnat"},
        "data": {"xnat.properties": "datasource.url=jdbc:postgresql://xnat-postgresql:5432/xnat"},
    }
    assert "xnat.properties in ConfigMap settings" in of(change, settings).entries[0].reason


def test_what_depends_on_the_web_part_or_on_nothing_comes_after_it() -> None:
    # Of what stands before the web workload, the map and the proofs say that it needs it.
    proxy = workload("a-proxy", args=["--to", "http://xnat-xnat-web"])
    found = of(lambda item: item, proxy, workload("a-viewer"))
    assert names(found)[:2] == [DATABASE, "/".join(WEB)]
    reasons = {each.workload: each.reason for each in found.entries}
    assert reasons["Deployment/a-proxy"].startswith("needs the web workload")
    assert reasons["Deployment/a-viewer"] == "nothing was found that depends on it"


def test_what_a_dependency_depends_on_comes_first_of_all() -> None:
    def change(item: Object) -> Object:
        if item["kind"] == "StatefulSet" and name_of(item) == "xnat-postgresql":
            item["spec"]["template"]["spec"]["containers"][0]["args"].append("--log=zlog")
        return item

    found = of(change, workload("zlog"), service("zlog"))
    assert names(found) == ["Deployment/zlog", DATABASE, "/".join(WEB)]


def test_a_circle_is_said_and_the_web_workload_still_comes_after_what_it_needs() -> None:
    def change(item: Object) -> Object:
        if item["kind"] == "StatefulSet" and name_of(item) == "xnat-postgresql":
            item["spec"]["template"]["spec"]["containers"][0]["args"].append("//xnat-xnat-web")
        return item

    found = of(change)
    assert "in a circle" in found.uncertain
    assert names(found) == [DATABASE, "/".join(WEB)]


def test_a_database_outside_is_said_and_not_restarted() -> None:
    def outside(item: Object) -> Object | None:
        if item["metadata"]["name"] == "xnat-postgresql" and item["kind"] == "Service":
            del item["spec"]["selector"]
            return item
        return None if item["metadata"]["name"].startswith("xnat-postgresql") else item

    addresses = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "rds",
            "namespace": "xnat",
            "labels": {"kubernetes.io/service-name": "xnat-postgresql"},
        },
        "endpoints": [{"addresses": ["10.0.7.7"]}],
    }
    found = of(outside, addresses)
    assert names(found) == ["/".join(WEB)]
    (said,) = found.outside
    assert said.startswith("Service xnat-postgresql leads to 10.0.7.7, used by StatefulSet/xnat-")
    assert "env PGHOST of container xnat" in said


def test_an_external_name_is_outside_as_well() -> None:
    rds = service("db", type="ExternalName", externalName="db.rds.amazonaws.com")
    del rds["spec"]["selector"]
    assert of(lambda item: item, rds).outside == ("Service db leads to db.rds.amazonaws.com",)


def test_pods_of_an_operator_are_listed_as_such_and_in_no_order() -> None:
    keeper = {"kind": "Cluster", "name": "xnat-db", "controller": True}
    owned = pod("xnat-db-1", labels={"cnpg.io/cluster": "xnat-db"}, sidecar=False)
    owned["metadata"]["ownerReferences"] = [keeper]
    found = of(lambda item: item, owned)
    assert [each.workload for each in found.owned] == ["Cluster/xnat-db"]
    assert names(found) == [DATABASE, "/".join(WEB)]
