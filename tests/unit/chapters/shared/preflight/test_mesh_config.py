"""What istiod's own configuration leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.chapters.injection import steps as injection
from runbook_lib.chapters.policies import mutual_tls
from runbook_lib.chapters.shared import preflight
from runbook_lib.chapters.shared.preflight import mesh_config
from runbook_lib.cluster.objects import Object
from runbook_lib.lab import standins
from tests.unit.doubles.given_cluster import context, web_workload

APPLICATION = Path(standins.__file__).parent / "application.yaml"
NAMESPACE: Object = {"kind": "Namespace", "metadata": {"name": "xnat", "labels": {"team": "mri"}}}


def config_map(name: str, key: str, **content: Any) -> Object:
    return {
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "istio-system"},
        "data": {key: yaml.safe_dump(content)},
    }


def mesh(**content: Any) -> Object:
    return config_map("istio", "mesh", **content)


def injector(**content: Any) -> Object:
    return config_map("istio-sidecar-injector", "config", **{"policy": "enabled", **content})


@pytest.fixture(autouse=True)
def of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_config, "is_own", lambda *_: False)


def of_the_runbook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_config, "is_own", lambda *_: True)


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"team": "pet"}},
        {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["mri"]}]},
        {"matchExpressions": [{"key": "mesh", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]},
        {"matchExpressions": [{"key": "mesh", "operator": "In", "values": ["on"]}]},
    ],
)
def test_selectors_that_leave_the_namespace_out_are_refused(
    tmp_path: Path, selector: Object
) -> None:
    given = context(tmp_path, NAMESPACE, mesh(discoverySelectors=[selector]))
    (refusal,) = preflight.not_injected(given)
    assert refusal.refuses
    assert refusal.name == "discovery-selectors"
    assert refusal.where == "ConfigMap istio-system/istio"
    assert ".data.mesh: discoverySelectors: [" in refusal.evidence[0]


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"team": "mri"}},
        {"matchLabels": {"istio-injection": "enabled"}},  # the label that the step sets
        {"matchExpressions": [{"key": "team", "operator": "In", "values": ["mri", "pet"]}]},
        {"matchExpressions": [{"key": "mesh", "operator": "NotIn", "values": ["off"]}]},
        {},
    ],
)
def test_one_selector_that_matches_the_namespace_is_enough(
    tmp_path: Path, selector: Object
) -> None:
    other = {"matchLabels": {"team": "pet"}}
    given = context(tmp_path, NAMESPACE, mesh(discoverySelectors=[other, selector]))
    assert list(preflight.not_injected(given)) == []


def test_the_command_gives_the_namespace_the_labels_that_a_selector_asks_for(
    tmp_path: Path,
) -> None:
    selector = {"matchLabels": {"team": "pet"}}
    (refusal,) = preflight.not_injected(
        context(tmp_path, NAMESPACE, mesh(discoverySelectors=[selector]))
    )
    assert "kubectl label namespace xnat team=pet" in refusal.remedy


def test_values_that_would_leave_the_namespace_out_are_refused_before_istio_is_there(
    tmp_path: Path,
) -> None:
    values = {"meshConfig": {"discoverySelectors": [{"matchLabels": {"team": "pet"}}]}}
    given = context(tmp_path, NAMESPACE, istio={"istiod": {"values": values}})
    (refusal,) = preflight.not_injected(given)
    assert refusal.refuses
    assert refusal.parameter == "istio.istiod.values.meshConfig.discoverySelectors"


def test_what_the_runbooks_own_values_mend_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_the_runbook(monkeypatch)
    (note,) = preflight.not_mesh_wide(context(tmp_path, mesh(rootNamespace="admin")))
    assert not note.refuses
    assert note.remedy.startswith("run 01_install_istio")


def test_values_count_only_for_the_runbooks_own_istiod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"meshConfig": {"rootNamespace": "admin"}}
    given = context(
        tmp_path, mesh(rootNamespace="istio-system"), istio={"istiod": {"values": values}}
    )
    assert list(preflight.not_mesh_wide(given)) == []
    of_the_runbook(monkeypatch)
    (refusal,) = preflight.not_mesh_wide(given)
    assert refusal.parameter == "istio.istiod.values.meshConfig.rootNamespace: istio-system"


def test_a_root_namespace_that_is_not_istiods_is_refused(tmp_path: Path) -> None:
    (refusal,) = preflight.not_mesh_wide(context(tmp_path, mesh(rootNamespace="admin")))
    assert refusal.refuses
    assert refusal.evidence == ("ConfigMap istio-system/istio .data.mesh: rootNamespace: admin",)


def test_a_revision_has_a_config_map_of_its_own(tmp_path: Path) -> None:
    canary = config_map("istio-canary", "mesh", rootNamespace="admin")
    given = context(tmp_path, mesh(), canary, istio={"revision": "canary"})
    (refusal,) = preflight.not_mesh_wide(given)
    assert refusal.where == "ConfigMap istio-system/istio-canary"


def test_an_injector_that_is_disabled_is_refused(tmp_path: Path) -> None:
    given = context(tmp_path, NAMESPACE, web_workload(), injector(policy="disabled"))
    (refusal,) = preflight.not_injected(given)
    assert refusal.refuses
    assert "StatefulSet xnat/xnat-xnat-web" in refusal.what
    assert refusal.evidence[0].endswith(".data.config: policy: disabled")


def test_a_pods_own_mark_comes_before_the_injectors_policy(tmp_path: Path) -> None:
    marked = web_workload(**{"sidecar.istio.io/inject": "true"})
    never = [{"matchLabels": {"app": "xnat-web"}}]
    config = injector(policy="disabled", neverInjectSelector=never)
    assert list(preflight.not_injected(context(tmp_path, NAMESPACE, marked, config))) == []


def test_a_selector_that_never_injects_comes_before_one_that_always_does(tmp_path: Path) -> None:
    matching = [{"matchLabels": {"app": "xnat-web"}}]
    config = injector(neverInjectSelector=matching, alwaysInjectSelector=matching)
    (refusal,) = preflight.not_injected(context(tmp_path, NAMESPACE, web_workload(), config))
    assert ".data.config: neverInjectSelector: [" in refusal.evidence[0]
    always = injector(policy="disabled", alwaysInjectSelector=matching)
    assert list(preflight.not_injected(context(tmp_path, NAMESPACE, web_workload(), always))) == []


def test_values_that_disable_the_injector_are_refused(tmp_path: Path) -> None:
    values = {"global": {"proxy": {"autoInject": "disabled"}}}
    given = context(tmp_path, NAMESPACE, web_workload(), istio={"istiod": {"values": values}})
    (refusal,) = preflight.not_injected(given)
    assert refusal.parameter == "istio.istiod.values.global.proxy.autoInject"


def test_chapter_02_does_not_label_a_namespace_that_istiod_leaves_out(tmp_path: Path) -> None:
    selectors = [{"matchLabels": {"team": "pet"}}]
    given = context(tmp_path, NAMESPACE, web_workload(), mesh(discoverySelectors=selectors))
    _, label, _ = injection.steps(given.parameters)
    assert "discovery-selectors" in [each.name for each in label.obstacles(given) if each.refuses]


def test_chapter_04_is_strict_only_where_that_holds_for_the_mesh(tmp_path: Path) -> None:
    given = context(tmp_path, NAMESPACE, web_workload(), mesh(rootNamespace="admin"))
    refused = {
        step.name: [each.name for each in step.obstacles(given) if each.refuses]
        for step in mutual_tls.steps(given.parameters)[:2]
    }
    assert "root-namespace" in refused["mutual-tls-strict"]
    assert "root-namespace" not in refused["mutual-tls-exception"]


def test_nothing_is_said_of_the_labs_own_application(tmp_path: Path) -> None:
    items = list(yaml.safe_load_all(APPLICATION.read_text(encoding="utf-8")))
    config = mesh(rootNamespace="istio-system"), injector(neverInjectSelector=[])
    for given in (context(tmp_path, *items), context(tmp_path, *items, *config)):
        assert list(preflight.not_injected(given)) == []
        assert list(preflight.not_mesh_wide(given)) == []


def test_in_force_is_what_the_cluster_says_whatever_the_values_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_the_runbook(monkeypatch)
    live = mesh(discoverySelectors=[{"matchLabels": {"team": "x"}}], rootNamespace="other")
    names = [found.name for found in mesh_config.in_force(context(tmp_path, NAMESPACE, live))]
    assert names == ["discovery-selectors", "root-namespace"]
