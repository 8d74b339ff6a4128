"""What is written for Git, and what must not be."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from runbook_lib.export import Exported, Left, files, secrets
from runbook_lib.lifecycle import ExportedRelease


def release(**values: Any) -> ExportedRelease:
    return ExportedRelease(
        "istiod", "istio-system", "istiod", "1.31.0", "https://charts.example.com", values
    )


def left(step: str, **given: Any) -> Left:
    nothing: dict[str, Any] = {"objects": (), "patches": (), "releases": (), "by_hand": ""}
    return Left(chapter="01_install_istio", step=step, title="Do it", **{**nothing, **given})


def config_map(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "xnat"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_own_objects_and_fields_of_others_are_in_folders_of_their_own() -> None:
    own, patch = config_map("own"), config_map("patched", key="value")
    found = files(Exported((left("first", objects=(own,)), left("second", patches=(patch,))), ()))
    assert yaml.safe_load(found["manifests/first.yaml"]) == own
    assert yaml.safe_load(found["patches/second.yaml"]) == patch
    assert yaml.safe_load(found["manifests/kustomization.yaml"])["resources"] == ["first.yaml"]
    assert yaml.safe_load(found["patches/kustomization.yaml"])["resources"] == ["second.yaml"]
    assert yaml.safe_load(found["kustomization.yaml"])["resources"] == ["patches", "manifests"]


def test_a_release_is_its_values_and_the_command_that_installs_it() -> None:
    values = {"pilot": {"env": {"A": "b"}}}
    found = files(Exported((left("install", releases=(release(**values),)),), ()))
    assert yaml.safe_load(found["values/istiod.yaml"]) == values
    assert (
        "helm upgrade --install istiod istiod --repo https://charts.example.com --version 1.31.0 "
        "--namespace istio-system --create-namespace --values values/istiod.yaml"
    ) in found["README.md"]


def test_what_is_to_be_done_by_hand_comes_before_the_policies_that_need_it() -> None:
    readme = files(Exported((left("restart", by_hand="Restart the pods."),), ()))["README.md"]
    assert readme.index("Restart the pods.") < readme.index("--kustomize manifests")


def test_what_was_left_out_is_named() -> None:
    assert "- Secret xnat/key\n" in files(Exported((), ("Secret xnat/key",)))["README.md"]


def test_secret_values_are_left_out_and_their_keys_named() -> None:
    given = release(
        auth={"password": "hunter2hunter2", "user": "x"},
        urls=["https://user:pass@example.com"],
        plain={"token_ttl": 5},
    )
    kept, removed = secrets.without_secrets(given)
    assert kept.values == {"auth": {"user": "x"}, "plain": {"token_ttl": 5}}
    assert removed == ("auth.password", "urls")


@pytest.mark.parametrize(
    ("item", "secret"),
    [
        (config_map("plain", config="a: b"), False),
        (config_map("key", config="-----BEGIN PRIVATE KEY-----\nAAAA"), True),
        ({**config_map("own"), "kind": "Secret"}, True),
    ],
)
def test_an_object_that_holds_a_secret_is_known(item: dict[str, Any], secret: bool) -> None:
    assert secrets.holds(item) is secret
