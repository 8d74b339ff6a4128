"""Images that are taken from a mirror."""

from __future__ import annotations

from typing import Any

from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.kiali.steps import operator_release
from runbook_lib.chapters.shared.release import istio
from runbook_lib.chapters.shared.release.planner import ReleasePlanner
from tests.unit.samples import lab_parameters

MIRROR = "registry.example.com:5000/mirror"


def given(release: ReleasePlanner) -> dict[str, Any]:
    return release._given_values


def test_istios_hub_goes_beside_the_other_global_values() -> None:
    values = {"global": {"logging": {"level": "default:info"}}}
    parameters = lab_parameters(
        istio={"hub": MIRROR, "namespace": "mesh", "istiod": {"values": values}}
    )
    found = given(istio.istiod_release(parameters))["global"]
    assert found == {
        "logging": {"level": "default:info"},
        "istioNamespace": "mesh",
        "hub": MIRROR,
    }


def test_kialis_hub_is_the_operators_and_kialis() -> None:
    parameters = lab_parameters(
        kiali={"hub": MIRROR, "operator": {"values": {"image": {"pullSecrets": ["mirror"]}}}}
    )
    found = given(operator_release(parameters))
    assert found["image"] == {"pullSecrets": ["mirror"], "repo": f"{MIRROR}/kiali-operator"}
    assert found["allowAdHocKialiImage"] is True
    deployment = manifest.kiali(parameters)["spec"]["deployment"]
    assert deployment["image_name"] == f"{MIRROR}/kiali"
    assert deployment["image_version"] == "operator_version"


def test_without_a_hub_the_charts_own_stays() -> None:
    assert "image" not in given(operator_release(lab_parameters()))
    assert "image_name" not in manifest.kiali(lab_parameters())["spec"]["deployment"]
