from __future__ import annotations

import hashlib
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
from runbook_lib.parameters import layers
from runbook_lib.parameters import loading as parameters
from runbook_lib.parameters.formats import RELEASED_CHARTS, RELEASED_KIALI_CHARTS
from runbook_lib.parameters.layers import Layer
from runbook_lib.parameters.model import Parameters, RefusedParameters
from tests.unit.samples import CLUSTER, from_mapping

BAD_FILES = sorted((Path(__file__).parent / "bad_parameters").glob("*.yaml"))
LAB = repository_root() / "parameters" / "lab.yaml"
EXAMPLE = repository_root() / "parameters" / "cluster.example.yaml"
KIND = repository_root() / "parameters" / "kind.example.yaml"


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
    count = expected[0] if expected[0].endswith("problems") else "1 problem"
    with pytest.raises(ParameterError) as caught:
        parameters.load(path)
    message = str(caught.value)
    assert str(path) in message
    for fragment in expected:
        assert fragment in message
    if "problem" in message:
        assert message.startswith(f"{count} in {path}:")
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
    with pytest.raises(ParameterError, match=r"loop\.yaml: the anchor in line 1 contains itself"):
        parameters.load(path)


def test_aliases_that_stand_for_millions_of_values_are_refused_before_they_do(
    tmp_path: Path,
) -> None:
    path = tmp_path / "laughs.yaml"
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9)]
    path.write_text("\n".join(["l0: &l0 [x]", *levels]))
    with pytest.raises(ParameterError, match=r"aliases from line \d stand for more than 100000"):
        parameters.load(path)


def test_what_is_nested_beyond_all_use_is_refused_in_files_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    deep = "[" * 120 + "]" * 120
    path.write_text(f"kiali: {{spec: {{x: {deep}}}}}\n")
    with pytest.raises(ParameterError, match=r"deep\.yaml is nested too deeply"):
        parameters.load(path)
    with pytest.raises(ParameterError, match=r"the value of --set .* is nested too deeply"):
        layers.of_settings([f"kiali.spec={deep}"])


def test_a_date_that_is_none_is_an_error_in_a_setting_too() -> None:
    with pytest.raises(ParameterError, match=r"month must be in 1\.\.12.*\n→ put the value"):
        layers.of_settings(["upgrade.to=2026-13-01"])


def test_a_key_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("target: {kind: lab}\ntimeouts: {1: 2}\n")
    with pytest.raises(ParameterError, match=r"timeouts\[1\]: the key is not text → put it in"):
        parameters.load(path)


def test_without_a_file_the_labs_holds_and_the_origin_says_so() -> None:
    found = parameters.load()
    assert found.parameters == parameters.load(LAB).parameters
    assert str(found.origin).startswith(f"{LAB} (sha256 ")
    assert str(found.origin).endswith("), because no file was given")
    assert "because" not in str(parameters.load(LAB).origin)


def test_the_file_for_kind_passes_as_it_is() -> None:
    found = parameters.load(KIND).parameters
    assert (found.target.context, found.target.production) == ("kind-xnat", False)


def test_the_digest_is_the_one_that_people_can_compute(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("target: {kind: lab}\n")
    (found, lab) = parameters.load(path).origin.files
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.path, lab.path) == (path, LAB)


def test_a_file_for_a_lab_is_laid_over_the_labs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "target: {kind: lab}\nstory: safe\n"
        "application:\n  web: {labels: {role: web}}\n"
        "  probes: [{method: GET, path: /x, status: 200}]\n"
        "authorization: {read_methods: [GET], methods: [GET], denied_method: DELETE}\n"
        "istio: {istiod: {values: {global: {logging: {level: debug}}}}}\n"
    )
    with pytest.raises(ParameterError, match="no probe for DELETE"):
        parameters.load(path)
    text = path.read_text()
    path.write_text(text.replace("}]", "}, {method: DELETE, path: /x, status: 405}]"))
    found, lab = parameters.load(path).parameters, parameters.load().parameters
    assert (found.story, lab.story) == ("safe", "documented")
    assert found.kiali == lab.kiali
    assert [probe.path for probe in found.application.probes] == ["/x", "/x"]
    assert found.application.web.labels == {"role": "web"}
    values = {**lab.istio.istiod.values, "global": {"logging": {"level": "debug"}}}
    assert found.istio.istiod.values == values


def test_a_problem_that_comes_from_the_labs_file_is_placed_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("target: {kind: lab}\nauthorization: {denied_method: PATCH}\n")
    expected = rf"1 problem in {path}:\n  {LAB} line \d+, application.probes: no probe for PATCH"
    with pytest.raises(ParameterError, match=expected):
        parameters.load(path)


def test_no_value_is_the_default() -> None:
    nothing = dict.fromkeys(Parameters.model_fields)
    assert from_mapping(nothing) == parameters.load().parameters


def test_the_current_context_is_never_a_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{contexts: [{name: prod}], current-context: prod}")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    data = {**CLUSTER, "target": {"kind": "cluster"}}
    with pytest.raises(ParameterError, match=r"1 problem .*\n.*target\.context: a cluster needs"):
        from_mapping(data)


def test_relative_paths_count_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").touch()
    data = {**CLUSTER, "application": {**CLUSTER["application"], "ca_file": "ca.pem"}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    monkeypatch.chdir("/")
    assert parameters.load(path).parameters.application.ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    "key", ["target.kubeconfig", "application.ca_file", "kiali.jaeger_manifest"]
)
@pytest.mark.parametrize("path", ["x" * 5000, "y/" * 3000], ids=["name", "path"])
def test_a_path_that_is_too_long_is_an_error_of_that_key(key: str, path: str) -> None:
    with pytest.raises(ParameterError, match="cannot be a file: File name too long") as caught:
        parameters.load(None, [Layer("x", CLUSTER), layers.of_settings([f"{key}={path}"])])
    assert f"{key}: " in str(caught.value)
    assert len(str(caught.value)) < 900


@pytest.mark.parametrize("path", ["x" * 5000, "y/" * 3000], ids=["name", "path"])
def test_a_file_whose_path_is_too_long_is_an_error(path: str) -> None:
    with pytest.raises(ParameterError, match=r"cannot read .*: File name too long") as caught:
        parameters.load(path)
    assert len(str(caught.value)) < 600


def test_a_file_that_is_nested_too_deeply_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 5000)
    with pytest.raises(ParameterError, match="is nested too deeply"):
        parameters.load(path)


def test_settings_are_laid_over_the_file_and_named() -> None:
    settings = layers.of_settings(
        ["timeouts.rollout=900", "application.plaintext_ports=[104, 8104]", "timeouts.probe=10"]
    )
    found = parameters.load(LAB, [settings])
    assert found.parameters.timeouts.rollout == 900
    assert found.parameters.timeouts.kiali == 600
    assert found.parameters.application.plaintext_ports == (104, 8104)
    expected = "; from --set: timeouts.rollout, timeouts.probe, application.plaintext_ports"
    assert str(found.origin).endswith(expected)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("timeouts", "--set 'timeouts' is no setting\n→ write it as timeouts.rollout=900"),
        (".rollout=1", "--set '.rollout=1' is no setting"),
        ("mode=[", "the value of --set 'mode=[' is not YAML: line 1"),
        ("mode=aply", "--set, mode: must be one of apply, plan, and is the text 'aply'"),
        ("timeouts.rolout=9", "--set, timeouts.rolout: unknown key → did you mean 'rollout'?"),
        ("timeouts=9", "--set, timeouts: must be a mapping of keys, and is 9"),
    ],
)
def test_a_bad_setting_is_an_error_with_its_reason(setting: str, reason: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parameters.load(LAB, [layers.of_settings([setting])])
    assert reason in str(caught.value)


def test_the_example_is_valid_and_shows_every_key() -> None:
    shown = set(keys_in(yaml.safe_load(EXAMPLE.read_text())))
    explained = set(keys_of(parameters.load(EXAMPLE).parameters)) - {"target.lab"}
    assert {key for key in explained if ".values." not in key} <= shown


def test_every_key_of_the_example_has_a_comment() -> None:
    lines = EXAMPLE.read_text().splitlines()
    keys = [index for index, line in enumerate(lines) if re.match(r"\s*\w+:", line)]
    assert len(keys) > 40
    assert [lines[i] for i in keys if not lines[i - 1].lstrip().startswith("#")] == []


def test_the_example_shows_the_defaults_except_for_what_it_marks() -> None:
    example = yaml.safe_load(EXAMPLE.read_text())
    minimal = from_mapping(
        {
            "target": {key: example["target"][key] for key in ("kind", "context")},
            "application": {key: example["application"][key] for key in ("url", "probes")},
            "istio": {"version": example["istio"]["version"]},
            "kiali": {"version": example["kiali"]["version"]},
        }
    )
    assert parameters.load(EXAMPLE).parameters == minimal
    assert len(re.findall("REQUIRED[.]", EXAMPLE.read_text())) == 4
    assert len(re.findall("PINNED[.]", EXAMPLE.read_text())) == 2


def test_a_cluster_defaults_to_production_and_to_the_safe_story() -> None:
    found = from_mapping(CLUSTER)
    assert (found.target.production, found.story) == (True, "safe")
    assert found.istio.chart_repository == RELEASED_CHARTS
    assert found.kiali.chart_repository == RELEASED_KIALI_CHARTS
    assert found.kiali.exposure == "cluster"
    assert found.istio.istiod.values == {}


def test_values_on_a_cluster_are_taken_as_given() -> None:
    values = {"pilot": {"autoscaleMin": 2}}
    found = from_mapping({**CLUSTER, "istio": {"istiod": {"values": values}}})
    assert found.istio.istiod.values == values
    assert found.istio.istiod.release == "istiod"


def test_a_trailing_slash_of_the_url_is_dropped() -> None:
    url = "https://xnat.example.com:8443/"
    data = {**CLUSTER, "application": {**CLUSTER["application"], "url": url}}
    assert from_mapping(data).application.url == "https://xnat.example.com:8443"


def test_parameters_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parameters.load().parameters.story = "safe"


def test_a_mapping_is_named_by_its_source() -> None:
    with pytest.raises(ParameterError, match=r"1 problem in cell 2:\n  mode: must be one of"):
        from_mapping({"mode": "aply"}, source="cell 2")


def test_kubeconfigs_come_from_the_parameter_then_the_environment_then_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    target = from_mapping(CLUSTER).target
    assert list(target.kubeconfigs) == [tmp_path / ".kube" / "config"]
    monkeypatch.setenv("KUBECONFIG", "/a:/b")
    assert list(target.kubeconfigs) == [Path("/a"), Path("/b")]
    with_file = {**CLUSTER, "target": {**CLUSTER["target"], "kubeconfig": str(given)}}
    assert list(from_mapping(with_file).target.kubeconfigs) == [given]


def test_the_environment_names_the_lab_where_the_parameters_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNBOOK_LAB", "two")
    assert from_mapping({}).target.lab == "two"
    assert parameters.load(LAB).parameters.target.lab == "two"
    assert from_mapping({"target": {"lab": "three"}}).target.lab == "three"
    monkeypatch.setenv("RUNBOOK_LAB", "Two Labs")
    with pytest.raises(ParameterError, match=r"target\.lab: 'Two Labs' is not a Kubernetes name"):
        from_mapping({})


def test_every_stage_of_the_default_methods_can_be_proved() -> None:
    found = from_mapping(CLUSTER)
    probed = {probe.method for probe in found.application.probes}
    methods = (*found.authorization.methods, found.authorization.denied_method)
    assert set(itertools.chain(found.authorization.read_methods, methods)) <= probed


@pytest.mark.parametrize(
    ("refused", "covered", "others"),
    [
        ({"method": "PUT"}, ["PUT /", "PUT /data/*"], ["DELETE /data/*"]),
        (
            {"method": "PUT", "path": "/data/projects/*"},
            ["PUT /data/projects/*", "PUT /data/projects/*/subjects/*"],
            ["PUT /data/*", "PUT /data/projects", "DELETE /data/projects/*"],
        ),
        ({"method": "DELETE", "path": "/data/JSESSION"}, ["DELETE /data/JSESSION"], ["DELETE /"]),
    ],
)
def test_a_refused_request_is_named_with_its_method_and_the_begin_of_its_path(
    refused: dict[str, str], covered: list[str], others: list[str]
) -> None:
    named = RefusedParameters(**refused)
    assert all(named.covers(*request.split()) for request in covered)
    assert not any(named.covers(*request.split()) for request in others)
