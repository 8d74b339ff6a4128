from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.base.errors import RunbookError
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
        program(tmp_path, name)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.find() == tools.find(tmp_path)


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
