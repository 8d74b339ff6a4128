from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import ParameterError
from runbook_lib.cluster.connection import Kubeconfig

CLUSTER = {"name": "eks-1", "cluster": {"server": "https://127.0.0.1:1"}}
USER = {"name": "me", "user": {"token": "abcdefghij"}}
CONTEXT = {"name": "staging", "context": {"cluster": "eks-1", "user": "me"}}


def write(path: Path, **sections: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **sections}))
    return path


def test_a_context_its_cluster_and_its_user_may_be_in_three_files(tmp_path: Path) -> None:
    files = (
        write(tmp_path / "a", contexts=[CONTEXT]),
        write(tmp_path / "b", clusters=[CLUSTER]),
        write(tmp_path / "c", users=[USER]),
    )
    found = Kubeconfig(files).context("staging")
    assert (found.cluster, found.server) == ("eks-1", "https://127.0.0.1:1")
    assert found.user == {"token": "abcdefghij"}


def test_of_two_entries_with_one_name_the_first_files_holds(tmp_path: Path) -> None:
    other = {"name": "eks-1", "cluster": {"server": "https://127.0.0.1:2"}}
    first = write(tmp_path / "a", clusters=[CLUSTER])
    second = write(tmp_path / "b", clusters=[other], contexts=[CONTEXT], users=[USER])
    assert Kubeconfig.of(first, second).context("staging").server == "https://127.0.0.1:1"
    assert Kubeconfig.of(second, first).context("staging").server == "https://127.0.0.1:2"


def test_of_several_files_missing_ones_are_passed_over(tmp_path: Path) -> None:
    there = write(tmp_path / "a", clusters=[CLUSTER], contexts=[CONTEXT], users=[USER])
    missing = tmp_path / "missing"
    assert Kubeconfig.of(missing, there).contexts == ["staging"]
    with pytest.raises(ParameterError, match=r"cannot read the kubeconfig .*missing"):
        assert Kubeconfig.of(missing, tmp_path / "missing-too").contexts


def test_paths_are_relative_to_the_file_that_has_them(tmp_path: Path) -> None:
    cluster = {**CLUSTER["cluster"], "certificate-authority": "ca.crt"}  # type: ignore[dict-item]
    plugin = {"apiVersion": "v", "command": "bin/login"}
    user = {"client-certificate": "me.crt", "client-key": "/keys/me.key", "exec": plugin}
    first = write(
        tmp_path / "one" / "k", contexts=[CONTEXT], clusters=[{"name": "eks-1", "cluster": cluster}]
    )
    second = write(tmp_path / "two" / "k", users=[{"name": "me", "user": user}])
    found = Kubeconfig.of(first, second).context("staging")
    assert found.settings["certificate-authority"] == str(tmp_path / "one" / "ca.crt")
    assert found.user["client-certificate"] == str(tmp_path / "two" / "me.crt")
    assert found.user["client-key"] == "/keys/me.key"
    assert found.user["exec"]["command"] == str(tmp_path / "two" / "bin" / "login")


def test_a_plugin_without_a_folder_is_looked_for_on_path(tmp_path: Path) -> None:
    user = {"name": "me", "user": {"exec": {"apiVersion": "v", "command": "aws"}}}
    path = write(tmp_path / "k", contexts=[CONTEXT], clusters=[CLUSTER], users=[user])
    assert Kubeconfig.of(path).context("staging").user["exec"]["command"] == "aws"


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({}, "no context 'staging'; there are: none"),
        ({"contexts": [{**CONTEXT, "name": "prod"}]}, "no context 'staging'; there are: prod"),
        ({"contexts": [CONTEXT]}, "names the cluster 'eks-1', of which there is no server"),
        ({"contexts": [CONTEXT], "clusters": [CLUSTER]}, "names the user 'me', which there is not"),
    ],
)
def test_a_context_that_is_not_whole_is_refused(
    tmp_path: Path, sections: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ParameterError, match=problem):
        Kubeconfig.of(write(tmp_path / "k", **sections)).context("staging")


def test_contexts_that_are_not_chosen_may_be_broken(tmp_path: Path) -> None:
    broken = {"name": "old", "context": {"cluster": "gone", "user": "gone"}}
    path = write(tmp_path / "k", contexts=[CONTEXT, broken], clusters=[CLUSTER], users=[USER])
    assert Kubeconfig.of(path).context("staging").cluster == "eks-1"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("clusters: [{]", "not a valid kubeconfig: line 1"),
        ("- a list", "not a valid kubeconfig"),
        ("contexts: [{context: {}}]", "not a valid kubeconfig: 'name'"),
        ("users: [{name: me}, {name: me}]", "two of its users have one name"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "k"
    path.write_text(content)
    with pytest.raises(ParameterError, match=problem):
        assert Kubeconfig.of(path).contexts


def test_nothing_of_a_broken_file_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text("users: [{name: me, user: {token: hidden-value}]\n")
    with pytest.raises(ParameterError) as caught:
        assert Kubeconfig.of(path).contexts
    assert "hidden-value" not in str(caught.value)


def test_credentials_stay_out_of_what_is_printed(tmp_path: Path) -> None:
    path = write(tmp_path / "k", contexts=[CONTEXT], clusters=[CLUSTER], users=[USER])
    assert "abcdefghij" not in repr(Kubeconfig.of(path).context("staging"))


def test_programs_get_one_file_as_an_option_and_several_by_the_environment() -> None:
    assert Kubeconfig.of(Path("/a")).calling("helm") == ("helm", "--kubeconfig", "/a")
    several = Kubeconfig.of(Path("/a"), Path("/b"))
    assert several.calling("helm") == ("env", f"KUBECONFIG=/a{os.pathsep}/b", "helm")
