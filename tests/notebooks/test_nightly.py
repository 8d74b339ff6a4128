"""Unattended: the CronJob of docs/nightly.yaml from inside, and the pipelines of docs/pipelines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base.locations import lab_directory, repository_root
from runbook_lib.lab.network.edge import EDGE_IP
from tests.labs import Lab
from tests.notebooks.headless import execute
from tests.notebooks.pipelines import GITHUB, GITLAB, Runner

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(300),
]

CHAPTERS = ("02_label_namespace", "03_autoscaling")
"""Those without charts: from inside there is no way to the folders that the lab's lie in."""

KUBECTL = ("kubectl", "--namespace", "istio-runbook")


def parameters(lab: Lab) -> dict[str, Any]:
    """The lab's own, for a cluster that is looked at from inside."""
    given = yaml.safe_load((repository_root() / "parameters" / "lab.yaml").read_text())
    kept = {key: given[key] for key in ("application", "authorization")}
    listeners = (lab_directory(lab.name) / "edge" / "listeners.json").read_text()
    (port,) = re.findall(r'"port_value": (\d+)', listeners)
    kept["application"]["url"] = f"http://{EDGE_IP}:{port}"  # as pods reach it
    return {**kept, "target": {"kind": "cluster", "context": "CHANGE", "production": False}}


@pytest.fixture(scope="module")
def nightly(mesh: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A mesh with the CronJob, and the rights that its manual has people grant."""
    mended = execute(mesh, "-m", "runbook_lib", "run", "--only", "03_autoscaling")
    assert mended.returncode == 0, mended.stdout
    roles = ("rights", "--role", "looking", "--role", "dry-run")
    granted = execute(mesh, "-m", "runbook_lib", *roles)
    mesh.run("kubectl", "apply", "--server-side", "--filename", "-", stdin=granted.stdout)
    manifest = (repository_root() / "docs" / "nightly.yaml").read_text()
    more = "".join(f"\n            - --only={name}" for name in CHAPTERS)
    manifest = manifest.replace("- --output=json", f"- --output=json{more}")
    manifest = manifest.replace("registry.example.com/istio-runbook:CHANGE", "lab/istio-runbook:1")
    mesh.run("kubectl", "apply", "--filename", "-", stdin=manifest)
    given = tmp_path_factory.mktemp("nightly") / "my-cluster.yaml"
    given.write_text(yaml.safe_dump(parameters(mesh)))
    mesh.run(*KUBECTL, "create", "configmap", "parameters", f"--from-file=parameters.yaml={given}")
    return mesh


def night(lab: Lab, name: str, ends: str) -> dict[str, Any]:
    """Run the job now, and return what it says."""
    lab.run(*KUBECTL, "create", "job", "--from=cronjob/verify", name)
    lab.run(*KUBECTL, "wait", f"--for=condition={ends}", f"job/{name}", "--timeout=120s")
    verdict: dict[str, Any] = json.loads(lab.run(*KUBECTL, "logs", f"job/{name}"))
    return verdict


def test_a_night_without_drift_completes_and_one_with_drift_fails(nightly: Lab) -> None:
    verdict = night(nightly, "quiet", "Complete")
    assert verdict["verdict"] == "done"
    assert {each["standing"] for each in verdict["steps"]} == {"holds"}
    label = ("kubectl", "label", "namespace", "xnat")
    nightly.run(*label, "istio-injection-")
    verdict = night(nightly, "drifted", "Failed")
    assert [each["step"] for each in verdict["steps"] if each["changes"]] == ["injection-label"]
    state = nightly.run(
        *(*KUBECTL, "get", "pods", "--selector=job-name=drifted"),
        "--output=jsonpath={.items[0].status.containerStatuses[0].state.terminated.exitCode}",
    )
    assert state == "6"


def test_the_account_may_try_a_change_and_not_make_it(nightly: Lab) -> None:
    account = "--as=system:serviceaccount:istio-runbook:verify"
    can = ("kubectl", "auth", "can-i", "patch", "namespace/xnat", account)
    assert nightly.run(*can, check=False).splitlines()[-1] == "no"
    group = ("--as=istio-runbook:verify", "--as-group=istio-runbook:looking")
    refused = nightly.run("kubectl", "label", "namespace", "xnat", "a=b", *group, check=False)
    assert "may try this, and not do it" in refused


@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", [GITHUB, GITLAB], ids=lambda path: path.stem)
def test_a_pipeline_plans_applies_what_was_planned_and_verifies(
    nightly: Lab, example: Path, tmp_path: Path
) -> None:
    nightly.run("kubectl", "label", "namespace", "xnat", "istio-injection-")
    runner = Runner(nightly, example, tmp_path, only="02")
    planned = runner.run("plan")
    assert planned.code == 0, planned.said
    shown = planned.files.get("GITHUB_STEP_SUMMARY", planned.said)
    assert "istio-injection: enabled" in shown, "a reviewer sees the difference"
    assert planned.files.get("GITHUB_OUTPUT", "pending=true\n") == "pending=true\n"
    artifact = [path for path in (tmp_path / "artifact").rglob("*") if path.is_file()]
    assert {path.parent.name for path in artifact} == {"plans"}

    applied = runner.run("apply")
    assert applied.code == 0, applied.said
    assert "injection-label: verified; change Namespace xnat" in applied.said
    (kept,) = runner.kept.glob("*/summary.json")
    assert json.loads(kept.read_text())["complete"] is True
    verified = runner.run("verify")
    assert verified.code == 0, verified.said
