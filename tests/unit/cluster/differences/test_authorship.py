from __future__ import annotations

from typing import Any

from runbook_lib.cluster.differences.authorship import restored
from runbook_lib.cluster.differences.diff import object_diff

THEN = "2026-01-01T00:00:00Z"


def entry(manager: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "time": THEN, "fieldsV1": fields, **more}


def service(spec: dict[str, Any], *managed: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "Service",
        "metadata": {"name": "web", "managedFields": list(managed), **metadata},
        "spec": spec,
    }


def told(live: dict[str, Any], desired: dict[str, Any]) -> list[str]:
    return [str(author) for author in object_diff(live, desired).authors]


def test_a_field_names_its_manager_and_the_time() -> None:
    live = service({"type": "NodePort"}, entry("kubectl-edit", {"f:spec": {"f:type": {}}}))
    assert told(live, service({"type": "ClusterIP"})) == [
        f".spec.type was set by kubectl-edit at {THEN}"
    ]


def test_only_managers_of_the_field_are_named() -> None:
    live = service(
        {"type": "NodePort", "externalName": "x"},
        entry("helm", {"f:spec": {"f:externalName": {}}}),
        entry("controller", {"f:spec": {"f:type": {}}}, subresource="status"),
        entry("patcher", {"f:spec": {"f:type": {}}}),
    )
    assert told(live, service({"type": "ClusterIP", "externalName": "x"})) == [
        f".spec.type was set by patcher at {THEN}"
    ]


def test_elements_of_a_list_are_found_by_their_key() -> None:
    key = 'k:{"port":80,"protocol":"TCP"}'
    port = {"port": 80, "protocol": "TCP"}
    live = service(
        {"ports": [{**port, "targetPort": 8081}]},
        entry("helm", {"f:spec": {"f:ports": {key: {".": {}, "f:port": {}}}}}),
        entry("someone", {"f:spec": {"f:ports": {key: {"f:targetPort": {}}}}}),
    )
    assert told(live, service({"ports": [{**port, "targetPort": 8080}]})) == [
        f".spec.ports[port=80,protocol=TCP].targetPort was set by someone at {THEN}"
    ]


def test_what_is_managed_whole_is_told_by_the_part_that_differs() -> None:
    live = service({"selector": {"app": "b"}}, entry("edit", {"f:spec": {"f:selector": {}}}))
    assert told(live, service({"selector": {"app": "a"}})) == [
        f".spec.selector.app was set by edit at {THEN}"
    ]


def test_what_was_removed_is_no_managers() -> None:
    live = service({}, entry("edit", {"f:spec": {}}))
    desired = service({}, labels={"istio-injection": "enabled"})
    assert told(live, desired) == [
        ".metadata.labels.istio-injection was removed; the API server does not record by whom"
    ]


def test_who_set_it_is_no_part_of_the_digest() -> None:
    desired = service({"type": "ClusterIP"})
    by_one, by_other = (
        service({"type": "NodePort"}, entry(name, {"f:spec": {"f:type": {}}})) for name in "ab"
    )
    assert object_diff(by_one, desired).digest == object_diff(by_other, desired).digest


def test_what_others_changed_of_a_manifest_is_restored() -> None:
    key = 'k:{"port":80}'
    live = service(
        {"type": "NodePort", "ports": [{"port": 80, "targetPort": 8081}]},
        entry("helm", {"f:spec": {"f:ports": {key: {"f:port": {}}}}}),
        entry("edit", {"f:spec": {"f:type": {}, "f:ports": {key: {"f:targetPort": {}}}}}),
    )
    given = {"spec": {"type": "ClusterIP", "ports": [{"port": 80, "targetPort": 8080}]}}
    spec = restored(live, given, {"helm"})["spec"]
    assert spec == {"type": "ClusterIP", "ports": [{"port": 80, "targetPort": 8080}]}


def test_what_the_api_server_writes_otherwise_is_left() -> None:
    live = service({"cpu": "1"}, entry("helm", {"f:spec": {"f:cpu": {}}}))
    given = {"spec": {"cpu": "1000m", "none": {}, "off": False}}
    assert restored(live, given, {"helm"}) == live
    fields = {'k:{"port":80,"protocol":"TCP"}': {"f:port": {}}}
    live = service(
        {"ports": [{"port": 80, "protocol": "TCP"}]}, entry("helm", {"f:spec": {"f:ports": fields}})
    )
    assert restored(live, {"spec": {"ports": [{"port": 80}]}}, {"helm"}) == live


def test_a_field_that_was_removed_and_an_element_are_restored() -> None:
    key = 'k:{"port":80}'
    live = service(
        {"ports": [{"port": 80}]}, entry("helm", {"f:spec": {"f:ports": {key: {"f:port": {}}}}})
    )
    given = {"spec": {"ports": [{"port": 80}, {"port": 90}], "selector": {"app": "a"}}}
    assert restored(live, given, {"helm"})["spec"] == given["spec"]


def test_what_controllers_write_through_a_subresource_is_left() -> None:
    live = service(
        {"replicas": 3}, entry("kube-controller-manager", {"f:spec": {}}, subresource="scale")
    )
    assert restored(live, {"spec": {"replicas": 1}}, {"helm"}) == live
