"""Manifests: plain YAML with the defaults, and every name and number from the parameters."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib import manifest
from tests.unit.samples import lab_parameters

DEFAULTS = lab_parameters()
RENDERED: dict[str, dict[str, Any]] = {
    "namespace-istio-system": manifest.istio_namespace(DEFAULTS),
    "namespace-injection": manifest.injection_label(DEFAULTS),
    "peer-authentication-strict": manifest.strict_mutual_tls(DEFAULTS),
    "peer-authentication-exception": manifest.mutual_tls_exception(DEFAULTS),
    "destination-rule": manifest.destination_rule(DEFAULTS, [80]),
    "authorization-policy": manifest.authorization_policy(DEFAULTS, ["GET", "HEAD"]),
}
OTHER = lab_parameters(
    application={
        "namespace": "shop",
        "web": {"name": "front", "service": "front-svc", "labels": {"tier": "web"}, "port": 3000},
        "restart_order": ["StatefulSet/front"],
    },
    istio={"namespace": "mesh", "revision": "canary"},
    mutual_tls={"policy": "all", "exception": "edge"},
    authorization={"policy": "methods", "destination_rule": "front"},
)


def test_every_file_is_rendered_by_a_function() -> None:
    assert sorted(RENDERED) == manifest.names()


@pytest.mark.parametrize("name", manifest.names())
def test_with_the_defaults_a_manifest_is_what_its_file_says(name: str) -> None:
    assert RENDERED[name] == manifest.load(name)


def test_the_mesh_wide_policy_has_no_selector_and_is_in_the_root_namespace() -> None:
    rendered = manifest.strict_mutual_tls(OTHER)
    assert rendered["metadata"] == {"name": "all", "namespace": "mesh"}
    assert rendered["spec"] == {"mtls": {"mode": "STRICT"}}


def test_the_exception_names_the_containers_port_as_text() -> None:
    rendered = manifest.mutual_tls_exception(OTHER)
    assert rendered["metadata"] == {"name": "edge", "namespace": "shop"}
    assert rendered["spec"] == {
        "selector": {"matchLabels": {"tier": "web"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"3000": {"mode": "DISABLE"}},
    }


def test_the_destination_rule_names_the_services_ports() -> None:
    rendered = manifest.destination_rule(OTHER, [80, 8443])
    assert rendered["metadata"] == {"name": "front", "namespace": "shop"}
    assert rendered["spec"]["host"] == "front-svc.shop.svc.cluster.local"
    assert rendered["spec"]["trafficPolicy"]["portLevelSettings"] == [
        {"port": {"number": 80}, "tls": {"mode": "DISABLE"}},
        {"port": {"number": 8443}, "tls": {"mode": "DISABLE"}},
    ]


def test_the_authorization_policy_names_methods_and_pods() -> None:
    rendered = manifest.authorization_policy(OTHER, ["GET"])
    assert rendered["metadata"] == {"name": "methods", "namespace": "shop"}
    assert rendered["spec"]["selector"] == {"matchLabels": {"tier": "web"}}
    assert rendered["spec"]["rules"] == [{"to": [{"operation": {"methods": ["GET"]}}]}]


def test_a_dry_run_is_an_annotation() -> None:
    rendered = manifest.authorization_policy(OTHER, ["GET"], dry_run=True)
    assert rendered["metadata"]["annotations"] == {"istio.io/dry-run": "true"}


def test_a_revision_has_a_label_of_its_own() -> None:
    assert manifest.injection_label(DEFAULTS)["metadata"]["labels"] == {
        "istio-injection": "enabled"
    }
    assert manifest.injection_label(OTHER)["metadata"]["labels"] == {"istio.io/rev": "canary"}


def test_rendering_does_not_change_what_is_rendered_next() -> None:
    manifest.authorization_policy(OTHER, ["DELETE"], dry_run=True)
    assert manifest.authorization_policy(DEFAULTS, ["GET", "HEAD"]) == manifest.load(
        "authorization-policy"
    )


def test_text_that_looks_like_yaml_stays_text() -> None:
    odd = lab_parameters(
        application={"web": {"labels": {"app": "yes"}}, "namespace": "true"},
    )
    rendered = manifest.mutual_tls_exception(odd)
    assert rendered["metadata"]["namespace"] == "true"
    assert rendered["spec"]["selector"]["matchLabels"] == {"app": "yes"}


@pytest.mark.parametrize("name", manifest.names())
def test_no_manifest_uses_an_outdated_api(name: str) -> None:
    assert manifest.load(name)["apiVersion"] in {
        "v1",
        "security.istio.io/v1",
        "networking.istio.io/v1",
    }
