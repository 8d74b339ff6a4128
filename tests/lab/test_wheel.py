"""The wheel, away from the checkout. What it needs of others is that of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from runbook_lib.base.command import run
from runbook_lib.base.locations import repository_root
from tests import wheels
from tests.labs import Lab
from tests.unit.samples import CLUSTER

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

LACKS = "import sys\nsys.modules['cryptography'] = None\n"
"""An environment without the lab's needs."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that has the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", folder], timeout=60)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps")
    run([*pip, "--disable-pip-version-check", wheel], timeout=60)
    (packages,) = folder.glob("lib/*/site-packages")
    others = next(Path(place) for place in sys.path if place.endswith("site-packages"))
    (packages / "others.pth").write_text(f"{others}\n")
    (packages / "sitecustomize.py").write_text(LACKS)
    return folder / "bin" / "istio-runbook"


def call(
    program: Path, *words: str, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_brings_the_notebooks_and_the_parameters(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder, pattern in (("notebooks", "*.ipynb"), ("parameters", "*.yaml")):
        found = {name.rpartition("/")[2] for name in names if f"/istio-runbook/{folder}/" in name}
        assert found == {path.name for path in (repository_root() / folder).glob(pattern)}
    assert not [name for name in names if name.startswith("tests/")]


def test_a_plan_for_a_cluster_from_any_folder(program: Path, lab: Lab, tmp_path: Path) -> None:
    target = {"kind": "cluster", "context": lab.state.context, "production": False}
    given = {**CLUSTER, "target": target}
    application = {**given["application"], "url": lab.state.url}
    file = tmp_path / "my-cluster.yaml"
    file.write_text(yaml.safe_dump({**given, "application": application}))
    words = ("plan", "--parameters", file.name, "--only", "02_label_namespace")
    path = f"{lab.state.bin}{os.pathsep}{os.environ['PATH']}"
    done = call(program, *words, folder=tmp_path, PATH=path, KUBECONFIG=lab.state.kubeconfig)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "injection-label: change Namespace xnat" in done.stdout, done.stdout
    assert list(tmp_path.glob("runs/*/report.html"))


def test_without_the_lab_it_has_no_such_command_and_says_why(program: Path, tmp_path: Path) -> None:
    shown = call(program, "--help", folder=tmp_path)
    assert (shown.returncode, "diagnose" in shown.stdout) == (0, True)
    assert "│ lab " not in shown.stdout
    refused = call(program, "lab", "up", folder=tmp_path)
    assert refused.returncode == 1
    assert "RunbookError: the lab is not installed" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_jupyterlab_opens_copies_of_the_notebooks_and_keeps_those_that_are_there(
    program: Path, lab: Lab, tmp_path: Path
) -> None:
    file = tmp_path / "my-cluster.yaml"
    target = {"kind": "cluster", "context": lab.state.context, "production": False}
    file.write_text(yaml.safe_dump({**CLUSTER, "target": target}))
    words = ("notebook", "--parameters", str(file), "--version")
    first = call(program, *words, folder=tmp_path, KUBECONFIG=lab.state.kubeconfig)
    assert first.returncode == 0, first.stderr
    changed = tmp_path / "notebooks" / "01_install_istio.ipynb"
    changed.write_text("mine")
    again = call(program, *words, folder=tmp_path, KUBECONFIG=lab.state.kubeconfig)
    assert "notebooks/ stays as it is" in again.stdout
    assert changed.read_text() == "mine"
