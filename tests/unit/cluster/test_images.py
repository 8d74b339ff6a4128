"""Which images nodes pull for objects."""

from __future__ import annotations

from runbook_lib.cluster import pods

POD_SPEC = {
    "initContainers": [{"name": "setup", "image": "hub/setup:1"}],
    "containers": [{"name": "main", "image": "hub/main:1"}, {"name": "bare"}],
}
POD = {"kind": "Pod", "spec": POD_SPEC}
DEPLOYMENT = {"kind": "Deployment", "spec": {"template": {"spec": POD_SPEC}}}
CRON_JOB = {"kind": "CronJob", "spec": {"jobTemplate": DEPLOYMENT}}


def test_images_are_found_in_pods_and_in_templates_and_named_once() -> None:
    for item in (POD, DEPLOYMENT, CRON_JOB):
        assert pods.images([item, item]) == ("hub/setup:1", "hub/main:1")


def test_other_objects_pull_none() -> None:
    service = {"kind": "Service", "spec": {"ports": []}}
    definition = {"kind": "CustomResourceDefinition", "spec": {"template": {}}}
    assert pods.images([service, definition, {"kind": "ConfigMap", "data": {}}]) == ()


def test_the_image_of_one_container_is_found_by_its_name() -> None:
    assert pods.image_of(DEPLOYMENT, "setup") == "hub/setup:1"
    assert pods.image_of(POD, "istio-proxy") == ""
