"""The lab's second version of Istio: the first under another stamp."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from runbook_lib.lab.build import versions
from runbook_lib.lab.build.binaries import Build
from runbook_lib.lab.build.recipes import istio_version
from runbook_lib.lab.foundation.errors import LabError

PROGRAMS = ("istioctl", "pilot-agent", "pilot-discovery")


@pytest.fixture
def built(tmp_path: Path) -> Build:
    """A build whose programs print their stamps."""
    build = Build(tmp_path / "0123")
    build.bin.mkdir(parents=True)
    for name in (*PROGRAMS, "helm", "kubectl"):
        program = build.program(name)
        program.write_text(f"#!/bin/sh\necho {name} {istio_version()}\n")
        program.chmod(0o755)
    for chart in ("base", "istiod"):
        build.share(f"charts/{chart}").mkdir(parents=True)
        build.share(f"charts/{chart}/Chart.yaml").write_text(f"name: {chart}\nversion: 1\n")
    build.share("charts/istiod/values.yaml").write_text("hub: h\ntag: latest\n")
    return build


def said(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout.strip()


def test_the_second_version_is_one_minor_version_newer(built: Build) -> None:
    second = versions.ensure_next(built)
    assert versions.next_version().startswith("1.32.")
    for name in PROGRAMS:
        assert said(second.program(name)) == f"{name} {versions.next_version()}"
        assert said(built.program(name)) == f"{name} {istio_version()}"
    for name in ("helm", "kubectl"):
        assert second.program(name).samefile(built.program(name))


def test_its_charts_name_its_images_as_a_releases_do(built: Build) -> None:
    second = versions.ensure_next(built)
    for chart in ("base", "istiod"):
        described = yaml.safe_load(second.share(f"charts/{chart}/Chart.yaml").read_text())
        assert described["version"] == described["appVersion"] == versions.next_version()
    values = yaml.safe_load(second.share("charts/istiod/values.yaml").read_text())
    assert values == {"hub": "h", "tag": versions.next_version()}


def test_it_is_made_once_and_whole_or_not_at_all(built: Build) -> None:
    stamped = built.program("pilot-discovery").read_text()
    built.program("pilot-discovery").write_text("#!/bin/sh\n")
    with pytest.raises(LabError, match=f"'{istio_version()}' 0 times, not once"):
        versions.ensure_next(built)
    assert [each.name for each in built.root.parent.iterdir()] == [built.root.name]
    built.program("pilot-discovery").write_text(stamped)
    second = versions.ensure_next(built)
    for name in PROGRAMS:
        built.program(name).unlink()
    assert versions.ensure_next(built) == second


def test_a_stamp_of_another_length_is_refused(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "next_version", lambda: "1.32")
    with pytest.raises(LabError, match="differ in it"):
        versions.ensure_next(built)
