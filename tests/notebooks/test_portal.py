"""Another application goes through the whole runbook by its parameters alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook_lib.base.locations import repository_root
from tests.faults import harmless
from tests.labs import Lab, start_lab, stop_lab
from tests.notebooks.headless import Run, run

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(900),
]

PARAMETERS = repository_root() / "parameters" / "portal.yaml"
MANIFEST = repository_root() / "runbook_lib" / "lab" / "standins" / "portal.yaml"
POLICIES = ("01_install_istio", "02_label_namespace", "04_mutual_tls", "05_authorization")
FINAL = {"GET": "200 Portal", "HEAD": "200", "POST": "501 Error response"}
UNKNOWN = ("PUT", "DELETE", "OPTIONS")
DENIED = "403 RBAC: access denied"


@pytest.fixture
def portal(worker_id: str) -> Iterator[Lab]:
    """A lab that runs the portal and no XNAT."""
    name = f"test-portal-{worker_id}"
    yield start_lab(name, MANIFEST)
    stop_lab(name)


def _verified(done: Run) -> None:
    assert done.code == 0, done.output
    assert set(done.outcomes.values()) == {"verified"}


def _drafted(lab: Lab, namespace: str, folder: Path) -> str:
    """The file that `init` writes for an application of a lab."""
    file = str(folder / f"{namespace}.yaml")
    options = ("--lab", lab.name, "--namespace", namespace, "--output", file, "--ask-methods")
    said = lab.run(sys.executable, "-m", "runbook_lib", "init", *options)
    assert "CHANGE" not in said
    return file


def _nothing_found(portal: Lab, *changes: str) -> None:
    options = ("diagnose", "--parameters", str(PARAMETERS))
    said = portal.run(sys.executable, "-m", "runbook_lib", *options, check=False)
    assert "Nothing found" in said, f"RUNBOOK_SEED={harmless.SEED}\n{changes}\n{said}"


def test_on_a_lab_of_its_own_and_back(portal: Lab, tmp_path: Path) -> None:
    done = run(portal, tmp_path, "--parameters", str(PARAMETERS))
    _verified(done)
    assert done.answers("authorization-methods") == {**FINAL, "DELETE": DENIED}
    assert "xnat" not in portal.run("kubectl", "get", "namespaces")
    _nothing_found(portal)
    with harmless.changed(portal, "portal") as changes:
        _nothing_found(portal, *changes)
    _verified(
        run(
            portal,
            tmp_path,
            "--parameters",
            str(PARAMETERS),
            "--set",
            "rollback.keep=00_start_here",
            command="rollback",
        )
    )
    assert portal.run("kubectl", "-n", "portal", "get", "pods", "--no-headers").count("1/1") == 3


def test_beside_xnat_which_has_its_mesh_already(lab: Lab, tmp_path: Path) -> None:
    """Nothing of XNAT's changes, and STRICT for the mesh is there before the portal comes.

    Both go by the files that `init` writes for them, in the safe story.
    """
    chapters = [option for name in POLICIES for option in ("--only", name)]
    _verified(run(lab, tmp_path, "--parameters", _drafted(lab, "xnat", tmp_path), *chapters))
    kinds = "statefulsets,pods,peerauthentications,authorizationpolicies,destinationrules"
    objects = ("kubectl", "-n", "xnat", "get", kinds, "--output=name")
    before = lab.run(*objects)
    lab.run("kubectl", "apply", "--filename", str(MANIFEST))
    lab.run("kubectl", "-n", "portal", "rollout", "status", "deployment/front", "--timeout=60s")
    done = run(lab, tmp_path, "--parameters", _drafted(lab, "portal", tmp_path), *chapters)
    _verified(done)
    assert "mutual-tls-strict" not in done.changed
    answers = done.answers("authorization-methods")
    assert answers == {**FINAL, **dict.fromkeys(UNKNOWN, FINAL["POST"]), "PATCH": DENIED}
    assert lab.run(*objects) == before
    assert lab.request("GET").status_code == 200
