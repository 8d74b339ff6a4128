from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.locations import repository_root
from runbook_lib.tools import programs as tools


def program(folder: Path, name: str, output: str = "") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\nprintf '{output}'\n")
    path.chmod(0o755)
    return path


def test_tools_are_found_in_a_folder(tmp_path: Path) -> None:
    for name in ("kubectl", "helm", "istioctl"):
        program(tmp_path, name)
    found = tools.find(tmp_path)
    assert found.helm == (tmp_path / "helm").resolve()


def test_tools_are_found_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kubectl", "helm", "istioctl"):
        program(tmp_path, name, "v4.2.0\\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.find() == tools.find(tmp_path)


@pytest.mark.parametrize("version", ["v3.18.4+gd80839c", "v5.0.0", "unknown"])
def test_another_helm_than_4_is_refused_with_the_way_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    for name in ("kubectl", "helm", "istioctl"):
        program(tmp_path, name, f"{version}\\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunbookError) as caught:
        tools.find()
    assert f"helm is Helm {version}, and Helm 4 is needed" in caught.value.cause
    assert "https://get.helm.sh/helm-v4." in caught.value.remedy


@pytest.mark.parametrize(
    ("system", "machine", "archive", "check"),
    [
        ("linux", "x86_64", "istioctl-1.31.1-linux-amd64.tar.gz", "sha256sum --check"),
        ("darwin", "arm64", "istioctl-1.31.1-osx-arm64.tar.gz", "shasum --algorithm 256 --check"),
    ],
)
def test_a_download_is_of_this_machines_kind_and_checked(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, archive: str, check: str
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    command = tools.download("istioctl", "1.31.1")
    assert f"/releases/download/1.31.1/{archive} " in command
    assert f"{check} {archive}.sha256 && tar --extract --gzip --file {archive}" in command


def test_the_helm_that_is_recommended_is_the_labs_own() -> None:
    modules = (repository_root() / "runbook_lib" / "lab" / "build" / "go.mod").read_text()
    (version,) = re.findall(r"helm.sh/helm/v4 v(\S+)", modules)
    assert f"helm-v{version}-" in tools.download("helm")


def test_all_missing_tools_are_named_with_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "helm")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunbookError) as caught:
        tools.find()
    assert caught.value.cause == "not found on PATH: kubectl, istioctl"
    assert "istioctl (https://istio.io/" in caught.value.remedy
    assert "helm.sh" not in caught.value.remedy


def test_missing_tools_of_the_lab_lead_to_the_lab(tmp_path: Path) -> None:
    with pytest.raises(RunbookError, match="python -m runbook_lib lab up"):
        tools.find(tmp_path)


def test_versions_are_the_bare_versions(tmp_path: Path) -> None:
    program(tmp_path, "kubectl", "Client Version: v1.36.3\\nKustomize Version: v5.8.1\\n")
    program(tmp_path, "helm", "v4.2.0\\n")
    program(tmp_path, "istioctl", "client version: 1.31.1\\n")
    assert tools.find(tmp_path).versions() == {
        "kubectl": "v1.36.3",
        "helm": "v4.2.0",
        "istioctl": "1.31.1",
    }


def test_a_program_is_asked_once_until_it_is_replaced(tmp_path: Path) -> None:
    for name in ("kubectl", "helm"):
        program(tmp_path, name)
    istioctl = tmp_path / "istioctl"

    def replaced(version: str, when: float) -> None:
        script = f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho {version}\n"
        istioctl.write_text(script)
        istioctl.chmod(0o755)
        os.utime(istioctl, (when, when))

    replaced("1.31.1", 1.0)
    found = tools.find(tmp_path)
    assert [found.versions_of("istioctl")["istioctl"] for _ in range(3)] == ["1.31.1"] * 3
    replaced("1.32.0", 2.0)
    assert found.versions_of("istioctl")["istioctl"] == "1.32.0"
    assert (tmp_path / "asked").read_text().split() == ["asked"] * 2
