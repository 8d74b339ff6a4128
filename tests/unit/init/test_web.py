"""The web workload is what requests from outside lead to, whatever it is called."""

from __future__ import annotations

import pytest

from runbook_lib.base import ParameterError
from runbook_lib.cluster import Object, name_of
from runbook_lib.init import SeveralWorkloads, web
from runbook_lib.init.looking import Facts
from tests.unit.doubles.applications import Change, objects, on_cluster

WEB = ("StatefulSet", "xnat-xnat-web")


def facts(change: Change = lambda item: item, *more: Object) -> Facts:
    return Facts.look(on_cluster(*objects(change=change), *more))


def without_ingress(item: Object) -> Object | None:
    return None if item["kind"] == "Ingress" else item


def ingress(name: str, service: str, port: int | str) -> Object:
    to = {"name": service, "port": {"name" if isinstance(port, str) else "number": port}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": "xnat"},
        "spec": {"defaultBackend": {"service": to}},
    }


def test_the_ingress_leads_to_it_through_a_headless_service_and_its_own_has_an_address() -> None:
    found = web.find(facts())
    assert (found.key, found.port) == (WEB, 8080)
    assert name_of(found.service) == "xnat-xnat-web"
    assert found.way is not None
    assert name_of(found.way.service) == "xnat-xnat-web-headless"
    assert found.path[0] == "/app/template/Login.vm"


def test_a_port_named_by_the_service_is_the_number_that_the_container_gives_it() -> None:
    def named(item: Object) -> Object:
        if item["kind"] == "Service" and item["metadata"]["name"].startswith("xnat-xnat-web"):
            for port in item["spec"]["ports"]:
                port["targetPort"] = "http" if port["targetPort"] == 8080 else port["targetPort"]
        return item

    assert web.find(facts(named)).port == 8080


def test_a_node_port_for_devices_is_no_way_for_requests() -> None:
    with pytest.raises(SeveralWorkloads, match="no Ingress, route or open Service") as error:
        web.find(facts(without_ingress))
    assert set(error.value.candidates) == {"StatefulSet/xnat-postgresql", "/".join(WEB)}


def test_without_an_ingress_an_open_service_leads_to_it() -> None:
    def opened(item: Object) -> Object | None:
        if item["kind"] == "Service" and name_of(item) == "xnat-xnat-web":
            item["spec"]["type"] = "LoadBalancer"
        return without_ingress(item)

    found = web.find(facts(opened))
    assert (found.key, found.port) == (WEB, 8080)


def test_two_that_are_led_to_are_named_with_their_ways_and_one_is_asked_for() -> None:
    second = ingress("other", "xnat-postgresql", "tcp-postgresql")
    with pytest.raises(SeveralWorkloads) as error:
        web.find(facts(lambda item: item, second))
    assert "Ingress xnat/other leads to Service xnat/xnat-postgresql" in str(error.value)
    assert "--workload Kind/name" in str(error.value)
    assert web.find(facts(lambda item: item, second), "/".join(WEB)).key == WEB


def test_one_that_nothing_leads_to_can_be_named_and_its_probes_tell_its_port() -> None:
    found = web.find(facts(without_ingress), "/".join(WEB))
    assert found.port == 8080


@pytest.mark.parametrize("named", ["StatefulSet/nothing", "xnat-xnat-web"])
def test_one_that_there_is_not_is_refused_with_those_that_there_are(named: str) -> None:
    with pytest.raises(ParameterError, match="StatefulSet/xnat-postgresql"):
        web.find(facts(), named)


def test_what_cannot_be_restarted_as_the_web_workload_is_refused_in_words() -> None:
    def daemon(item: Object) -> Object:
        if item["kind"] == "StatefulSet" and name_of(item) == WEB[1]:
            item["kind"] = "DaemonSet"
        return item

    with pytest.raises(ParameterError, match="no StatefulSet or Deployment"):
        web.find(facts(daemon))


def test_the_pages_path_is_a_probe_of_the_web_port_and_else_the_root() -> None:
    def elsewhere(item: Object) -> Object:
        if item["kind"] == "StatefulSet" and name_of(item) == WEB[1]:
            for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
                container = item["spec"]["template"]["spec"]["containers"][0]
                container[probe]["httpGet"] = {"path": "/health", "port": 9000}
        return item

    assert web.find(facts(elsewhere)).path[0] == "/"


def test_a_database_is_no_web_workload_even_if_a_person_names_it() -> None:
    with pytest.raises(ParameterError, match="which of its ports takes HTTP cannot be told") as got:
        web.find(facts(), "StatefulSet/xnat-postgresql")
    assert "Services lead to: 5432" in got.value.cause
