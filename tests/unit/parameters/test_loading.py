from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from runbook_lib.base.errors import ParameterError
from runbook_lib.base.locations import repository_root
from runbook_lib.parameters import loading as parameters
from runbook_lib.parameters.model import LAB_ISTIOD_VALUES, RELEASED_CHARTS, Parameters

BAD_FILES = sorted((Path(__file__).parent / "bad_parameters").glob("*.yaml"))
LAB = repository_root() / "parameters" / "lab.yaml"
EKS = repository_root() / "parameters" / "eks.example.yaml"
CLUSTER: dict[str, Any] = {
    "target": {"kind": "cluster", "context": "staging"},
    "application": {"url": "https://xnat.example.com"},
}


def keys_of(model: BaseModel, above: str = "") -> Iterator[str]:
    for name in type(model).model_fields:
        yield above + name
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from keys_of(value, f"{above}{name}.")


def keys_in(data: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in data.items():
        yield above + name
        if isinstance(value, dict):
            yield from keys_in(value, f"{above}{name}.")


def test_there_are_enough_bad_files() -> None:
    assert len(BAD_FILES) >= 30


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_place_and_remedy(path: Path) -> None:
    header, _, _ = path.read_text().partition("\n")
    expected = header.removeprefix("# expect: ").split(" | ")
    with pytest.raises(ParameterError) as caught:
        parameters.load(path)
    message = str(caught.value)
    assert str(path) in message
    for fragment in expected:
        assert fragment in message
    assert "hunter22" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"cannot read .*nothing\.yaml: No such file"):
        parameters.load(tmp_path / "nothing.yaml")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="Is a directory"):
        parameters.load(tmp_path)


def test_a_file_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("story: säfe".encode("latin-1"))
    with pytest.raises(ParameterError, match=r"not UTF-8 text \(byte 8\)"):
        parameters.load(path)


def test_an_alias_inside_itself_is_refused_without_recursion(tmp_path: Path) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text("application: &again\n  web: *again\n")
    with pytest.raises(ParameterError, match=r"application\.web\.web: unknown key"):
        parameters.load(path)


def test_the_lab_file_is_equal_to_the_defaults() -> None:
    assert parameters.load(LAB) == parameters.from_mapping({})


def test_no_value_is_the_default() -> None:
    nothing = dict.fromkeys(Parameters.model_fields)
    assert parameters.from_mapping(nothing) == Parameters()


def test_the_eks_example_is_valid_and_shows_every_key() -> None:
    shown = set(keys_in(yaml.safe_load(EKS.read_text())))
    explained = set(keys_of(parameters.load(EKS))) - {"target.lab"}
    assert {key for key in explained if ".values." not in key} <= shown


def test_every_key_of_the_eks_example_has_a_comment() -> None:
    lines = EKS.read_text().splitlines()
    keys = [index for index, line in enumerate(lines) if re.match(r"\s*\w+:", line)]
    assert len(keys) > 40
    assert [lines[i] for i in keys if not lines[i - 1].lstrip().startswith("#")] == []


def test_a_cluster_defaults_to_production_and_to_the_safe_story() -> None:
    found = parameters.from_mapping(CLUSTER)
    assert (found.target.production, found.story) == (True, "safe")
    assert found.istio.chart_repository == RELEASED_CHARTS
    assert found.istio.istiod.values == {}


def test_values_on_a_cluster_are_taken_as_given() -> None:
    values = {"pilot": {"autoscaleMin": 2}}
    found = parameters.from_mapping({**CLUSTER, "istio": {"istiod": {"values": values}}})
    assert found.istio.istiod.values == values
    assert found.istio.istiod.release == "istiod"


def test_values_of_the_lab_may_be_added_to() -> None:
    values = {**LAB_ISTIOD_VALUES, "global": {"logging": {"level": "debug"}}}
    found = parameters.from_mapping({"istio": {"istiod": {"values": values}}})
    assert found.istio.istiod.values == values


def test_a_trailing_slash_of_the_url_is_dropped() -> None:
    data = {**CLUSTER, "application": {"url": "https://xnat.example.com:8443/"}}
    assert parameters.from_mapping(data).application.url == "https://xnat.example.com:8443"


def test_parameters_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Parameters().story = "safe"


def test_a_mapping_is_named_by_its_source() -> None:
    with pytest.raises(ParameterError, match=r"1 problem in cell 2:\n  mode: must be one of"):
        parameters.from_mapping({"mode": "aply"}, source="cell 2")


def test_kubeconfigs_come_from_the_parameter_then_the_environment_then_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    target = parameters.from_mapping(CLUSTER).target
    assert list(target.kubeconfigs) == [tmp_path / ".kube" / "config"]
    monkeypatch.setenv("KUBECONFIG", "/a:/b")
    assert list(target.kubeconfigs) == [Path("/a"), Path("/b")]
    with_file = {**CLUSTER, "target": {**CLUSTER["target"], "kubeconfig": str(given)}}
    assert list(parameters.from_mapping(with_file).target.kubeconfigs) == [given]


def test_the_environment_names_the_lab_where_the_parameters_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNBOOK_LAB", "two")
    assert parameters.from_mapping({}).target.lab == "two"
    assert parameters.load(LAB).target.lab == "two"
    assert parameters.from_mapping({"target": {"lab": "three"}}).target.lab == "three"
    monkeypatch.setenv("RUNBOOK_LAB", "Two Labs")
    with pytest.raises(ParameterError, match=r"target\.lab: 'Two Labs' is not a Kubernetes name"):
        parameters.from_mapping({})


def test_every_stage_of_the_default_methods_can_be_proved() -> None:
    found = Parameters()
    probed = {probe.method for probe in found.application.probes}
    methods = (*found.authorization.methods, found.authorization.denied_method)
    assert set(itertools.chain(found.authorization.read_methods, methods)) <= probed
