"""Every notebook in order, headless, on a fresh lab; then again; then with things in the way."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import secrets
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree as ET

import jsonschema
import nbformat
import psutil
import pytest
import yaml

from runbook_lib import chapters as steps
from runbook_lib.base import MASK, chain
from runbook_lib.base.locations import lab_directory, repository_root
from runbook_lib.base.wait import State, until
from runbook_lib.headless import evidence_schema
from runbook_lib.lifecycle import StepApproved, StepOutcome, runs
from tests.labs import Lab, named
from tests.notebooks import counts
from tests.notebooks.headless import Run, execute, run, start
from tests.unit.samples import lab_parameters

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(600),
]

CHAPTERS = steps.regular()
RESTART = ("02_label_namespace", "injection-restart")
"""A step whose change takes a while."""

UNCHANGED = (
    *("injection-canary", "mutual-tls-asked", "authorization-dry-run-read", "authorization-asked"),
    "kiali-readers",
)
"""What these make they remove again; on the lab no pod is tried, and no reader is named."""

STEPS = [step.name for notebook in CHAPTERS for step in steps.of(notebook, lab_parameters())]
OWN = {"GET": "200 XNAT stand-in: log in", "HEAD": "200", "POST": "302"}
TOKEN = re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]+\.[\w-]+")
"""A JSON Web Token, as the API server issues them."""

DENIED = "403 RBAC: access denied"

PLANTED = {name: secrets.token_urlsafe(12) + "&<>" for name in ("key", "variable", "url", "other")}
"""Secrets that are written down wherever a parameters file takes them."""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run folders of this module are made."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def planned(lab: Lab, output: Path) -> Run:
    """A run in plan mode on the fresh lab."""
    return run(lab, output, command="plan")


@pytest.fixture(scope="module")
def planted(lab: Lab, output: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in plan mode with secrets among the parameters."""
    values = {
        "pilot": {"env": {"DB_PASSWORD": PLANTED["key"]}},
        "env": {"UPSTREAM": f"https://me:{quote(PLANTED['url'])}@proxy.example.com"},
        "extra": [{"name": "API_KEY", "value": PLANTED["variable"]}],
    }
    of_base = {"global": {"clientSecret": PLANTED["other"]}}
    istio = {"istiod": {"values": values}, "base": {"values": of_base}}
    file = tmp_path_factory.mktemp("planted") / "parameters.yaml"
    file.write_text(yaml.safe_dump({"target": {"kind": "lab"}, "istio": istio}))
    options = ("--only", "01_install_istio", "--parameters", str(file))
    return run(lab, output, *options, command="plan")


@pytest.fixture(scope="module")
def first(lab: Lab, output: Path, planned: Run) -> Run:
    """The first real run: it carries out what that one has planned."""
    assert planned.code == 0
    return run(lab, output, "--approve-plan", str(planned.folder))


@pytest.fixture(scope="module")
def second(lab: Lab, output: Path, first: Run) -> Run:
    """The same once more."""
    assert first.code == 0, first.output
    return run(lab, output)


def test_plan_mode_plans_every_step_and_changes_nothing(lab: Lab, planned: Run) -> None:
    assert planned.code == 0, planned.output
    assert planned.outcomes == dict.fromkeys(STEPS, "planned")
    assert "Plan mode: nothing was changed." in planned.output
    namespaces = lab.run("kubectl", "get", "namespaces", "--show-labels")
    assert "istio" not in namespaces
    assert planned.kinds == {"notebook-started", "step-planned", "spent"}


def test_plan_mode_says_what_cannot_be_known_yet(planned: Run) -> None:
    strict = planned.record.step("04_mutual_tls", "mutual-tls-strict").planned
    assert strict is not None
    assert "does not know PeerAuthentication yet" in strict.unpredictable[0]
    assert "+    mode: STRICT" in strict.changes[0].text


def test_the_first_run_verifies_every_step(first: Run) -> None:
    assert first.code == 0, first.output
    assert first.outcomes == dict.fromkeys(STEPS, "verified")
    assert list(first.changed) == [step for step in STEPS if step not in UNCHANGED]


def test_the_site_breaks_and_heals_as_the_documented_story_says(first: Run) -> None:
    assert first.answers("injection-restart") == {**OWN, "DELETE": "405 405: Method Not Allowed"}
    bad = first.answers("mutual-tls-strict")
    assert [bad[method].split()[0] for method in ("GET", "HEAD", "POST", "DELETE")] == ["502"] * 4
    assert first.answers("mutual-tls-exception") == first.answers("injection-restart")
    reading = first.answers("authorization-read-only")
    assert reading == {**OWN, "POST": DENIED, "DELETE": DENIED}
    assert first.answers("authorization-methods") == {**OWN, "DELETE": DENIED}


def test_what_was_planned_without_istio_is_what_is_done(planned: Run, first: Run) -> None:
    plans = {path.name for path in (planned.folder / "plans").iterdir()}
    assert len(plans) == len(STEPS)
    approved = [e.event for e in first.entries if isinstance(e.event, StepApproved)]
    assert {f"reviewed with run {planned.folder.name}" in event.how for event in approved} == {True}


def test_every_change_was_approved_before_it_was_made(first: Run) -> None:
    for step in first.changed:
        events = [entry.event for entry in first.entries if entry.step == step]
        kinds = [event.name for event in events if event.name.startswith("step-")]
        life = ("planned", "approved", "applying", "applied", "verified")
        assert kinds == [f"step-{phase}" for phase in life]
        assert len({event.digest for event in events if hasattr(event, "digest")}) == 1


def test_the_run_leaves_executed_notebooks_without_errors(first: Run) -> None:
    for notebook in CHAPTERS:
        executed = nbformat.read(first.folder / f"{notebook}.ipynb", as_version=4)
        code = [cell for cell in executed.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in code)
        assert [o for cell in code for o in cell.outputs if o.output_type == "error"] == []


def test_a_run_puts_its_parameters_into_no_notebook_and_says_where_they_come_from(
    first: Run,
) -> None:
    for notebook in CHAPTERS:
        executed = nbformat.read(first.folder / f"{notebook}.ipynb", as_version=4)
        assert "injected-parameters" not in str([cell.metadata for cell in executed.cells])
        opened = next(cell for cell in executed.cells if cell.id == "connect-target")
        assert "lab.yaml (sha256 " in opened.outputs[0].text
        assert "because no file was given" in opened.outputs[0].text


def test_the_run_shows_progress_a_summary_and_where_everything_is(first: Run) -> None:
    for notebook in CHAPTERS:
        assert f"\n{notebook}\n" in f"\n{first.output}"
    for step in STEPS:
        assert f"✓ {step}: verified" in first.output
    assert (
        f"All {len(STEPS)} steps verified, {len(STEPS) - len(UNCHANGED)} changed." in first.output
    )
    assert str(first.folder / "report.html") in first.output
    assert (first.folder / "report.html").is_file()


def test_a_second_run_changes_nothing_and_says_so(lab: Lab, second: Run) -> None:
    assert second.code == 0, second.output
    assert second.outcomes == dict.fromkeys(STEPS, "verified")
    assert second.changed == {}
    assert "0 changed: everything was in place" in second.output
    approved = {entry.step for entry in second.entries if entry.event.name == "step-approved"}
    assert approved == {"mutual-tls-asked", "authorization-asked"}
    history = json.loads(
        lab.run("helm", "history", "istiod", "--namespace", "istio-system", "--output", "json")
    )
    assert [entry["revision"] for entry in history] == [1]


@pytest.mark.parametrize("name", ["planned", "first", "second"])
def test_no_step_makes_others_do_more_than_is_stored(
    name: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(name)
    assert run.code == 0, run.output
    found = counts.of(run.record)
    if os.environ.get("RUNBOOK_COUNTS") == "record":
        counts.store(name, found)
    more = list(counts.more(found, counts.stored()[name]))
    assert more == [], "if that has to be: make counts"


def test_what_is_exported_for_git_and_what_is_in_the_cluster_agree(
    lab: Lab, second: Run, tmp_path: Path
) -> None:
    assert second.code == 0, second.output
    folder = tmp_path / "export"
    done = execute(lab, "-m", "runbook_lib", "export", str(folder))
    assert done.returncode == 0, done.stdout
    assert "Left out" not in done.stdout
    diff = ("kubectl", "diff", "--server-side", "--force-conflicts", "--kustomize", str(folder))
    assert lab.run(*diff) == ""
    releases = json.loads(lab.run("helm", "list", "--all-namespaces", "--output=json"))
    values = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("values/*")}
    assert values == {
        each["name"]: json.loads(
            lab.run(
                *("helm", "get", "values", each["name"], "--namespace", each["namespace"]),
                "--output=json",
            )
        )
        or {}
        for each in releases
    }
    lab.run("kubectl", "--namespace", "xnat", "delete", "authorizationpolicy", "xnat-all")
    assert "+  name: xnat-all" in lab.run(*diff, check=False)
    policy = str(folder / "manifests" / "authorization-methods.yaml")
    apply = ("kubectl", "apply", "--server-side", "--filename", policy)
    lab.run(*apply)
    context = lab.context(tmp_path)
    assert named(context, "authorization-methods").plan(context).empty
    lab.run("kubectl", "delete", "--filename", policy)
    lab.run(*apply, "--field-manager=istio-runbook")


def test_no_secret_is_in_any_output_evidence_or_log(
    lab: Lab, planned: Run, first: Run, second: Run, output: Path
) -> None:
    """Every Secret of the cluster, and whatever looks like a token of it, is searched for."""
    found = json.loads(lab.run("kubectl", "get", "secrets", "--all-namespaces", "-o", "json"))
    secrets = {
        f"{item['metadata']['name']}/{key}": base64.b64decode(value).decode("utf-8", "replace")
        for item in found["items"]
        if item["type"] != "helm.sh/release.v1"
        for key, value in (item.get("data") or {}).items()
        # Certificates are public, and istiod leaves a key empty.
        if value and not key.endswith(("cert.pem", ".crt"))
    }
    assert {"kiali-signing-key/key", "istio-ca-secret/ca-key.pem"} <= secrets.keys()
    logs = lab_directory(lab.name).rglob("*.log")
    files = [path for path in (*output.rglob("*"), *logs) if path.is_file()]
    assert {path.suffix for path in files} >= {".ipynb", ".jsonl", ".html", ".json", ".log"}
    shown = {str(path): path.read_text(errors="replace") for path in files}
    shown |= {"output of the runs": planned.output + first.output + second.output}
    for where, text in shown.items():
        assert TOKEN.findall(text) == [], where
        assert "PRIVATE KEY" not in text, where
        assert [name for name, secret in secrets.items() if secret in text] == [], where


def test_secrets_among_the_parameters_are_in_nothing_that_a_run_writes(planted: Run) -> None:
    assert planted.code == 0, planted.output
    shown = {path.name: path.read_text() for path in planted.folder.rglob("*") if path.is_file()}
    shown["output"] = planted.output
    assert MASK in shown["01_install_istio.ipynb"], "the values are shown"
    assert MASK in shown["evidence.jsonl"]
    for secret in PLANTED.values():
        for form in (secret, quote(secret), html.escape(secret), json.dumps(secret)[1:-1]):
            assert [where for where, text in shown.items() if form in text] == []


def test_what_a_run_writes_is_for_its_owner_alone(planned: Run, first: Run) -> None:
    for folder in (planned.folder, first.folder):
        assert folder.stat().st_mode & 0o777 == 0o700
        for path in folder.rglob("*"):
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_the_evidence_of_a_run_is_whole_and_its_seal_is_printed(first: Run) -> None:
    """The runner and a kernel for each notebook have written to it."""
    assert chain.faults(first.folder / runs.EVIDENCE, [runs.seal_of(first.folder)]) == []
    assert f"Evidence:  {runs.noted_seal(first.folder)}\n" in first.output
    validator = jsonschema.Draft202012Validator(evidence_schema.schema())
    for line in (first.folder / runs.EVIDENCE).read_text().split("\n")[:-1]:
        validator.validate(json.loads(line))


def test_a_pipeline_gets_a_case_for_each_step(first: Run) -> None:
    suites = ET.parse(first.folder / "junit.xml").getroot()
    assert [case.attrib["name"] for case in suites.iter("testcase")] == STEPS
    assert {suite.attrib["failures"] for suite in suites} == {"0"}


def test_one_notebook_runs_with_plain_papermill(lab: Lab, second: Run, tmp_path: Path) -> None:
    assert second.code == 0
    executed = tmp_path / "out.ipynb"
    done = execute(
        lab,
        *("-m", "papermill", "notebooks/04_mutual_tls.ipynb", str(executed)),
        *("-f", "parameters/lab.yaml", "--inject-paths", "-p", "timeouts.policy", "61"),
        RUNBOOK_RUN_DIR=str(tmp_path),
    )
    assert done.returncode == 0, done.stdout
    assert "Verified." in executed.read_text()
    assert "from the notebook: timeouts.policy" in executed.read_text()
    summary = json.loads((tmp_path / runs.SUMMARY).read_text())
    assert (summary["complete"], summary["mode"]) == (True, "apply")
    assert {step["outcome"] for step in summary["steps"]} == {"verified"}
    assert chain.faults(tmp_path / runs.EVIDENCE, [runs.seal_of(tmp_path)]) == []


def test_papermill_by_itself_masks_secrets_with_the_engine_of_the_runbook(
    lab: Lab, second: Run, tmp_path: Path
) -> None:
    assert second.code == 0
    executed, file = tmp_path / "out.ipynb", tmp_path / "parameters.yaml"
    secret = PLANTED["key"]
    istio = {"istiod": {"values": {"pilot": {"env": {"DB_PASSWORD": secret}}}}}
    file.write_text(yaml.safe_dump({"target": {"kind": "lab"}, "istio": istio, "mode": "plan"}))
    done = execute(
        lab,
        *("-m", "papermill", "--engine", "runbook", "notebooks/01_install_istio.ipynb"),
        *(str(executed), "-f", str(file)),
        RUNBOOK_RUN_DIR=str(tmp_path / "run"),
    )
    assert done.returncode == 0, done.stdout
    shown = {
        path.name: path.read_text() for path in (tmp_path / "run").rglob("*") if path.is_file()
    }
    shown |= {"executed": executed.read_text(), "output": done.stdout}
    assert [name for name, text in shown.items() if secret in text] == []
    assert shown["executed"].count(MASK) > 2, "in the cell, in the metadata and in the plan"


def test_a_session_takes_its_file_and_shows_its_digest(
    lab: Lab, second: Run, tmp_path: Path
) -> None:
    assert second.code == 0
    file = tmp_path / "mine.yaml"
    file.write_text("target: {kind: lab}\nmode: plan\n")
    executed = tmp_path / "out.ipynb"
    done = execute(
        lab,
        *("-m", "papermill", "notebooks/00_start_here.ipynb", str(executed)),
        RUNBOOK_RUN_DIR=str(tmp_path),
        RUNBOOK_PARAMETERS=str(file),
    )
    assert done.returncode == 0, done.stdout
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"Parameters: {file} (sha256 {digest[:12]}), over " in executed.read_text()
    assert "Mode:       plan" in executed.read_text()


def test_a_parameter_that_papermill_does_not_know_is_an_error(lab: Lab, tmp_path: Path) -> None:
    done = execute(
        lab,
        *("-m", "papermill", "notebooks/04_mutual_tls.ipynb", str(tmp_path / "out.ipynb")),
        *("-p", "stroy", "safe"),
        RUNBOOK_RUN_DIR=str(tmp_path),
    )
    assert done.returncode != 0
    assert "stroy is not a parameter; did you mean 'story'?" in done.stdout
    assert not (tmp_path / "evidence.jsonl").exists()


def test_without_approval_nothing_changes(lab: Lab, second: Run, output: Path) -> None:
    assert second.code == 0
    lab.run("kubectl", "--namespace", "xnat", "delete", "peerauthentication", "default")
    refused = run(lab, output, "--approve", "none", "--only", "04_mutual_tls")
    assert refused.code == 3
    assert refused.outcomes == {
        "mutual-tls-strict": "verified",
        "mutual-tls-exception": "not approved",
        "mutual-tls-asked": "not run",
    }
    assert "Stopped in 04_mutual_tls, cell apply-second-step: NotApproved" in refused.output
    assert "--approve lab-" in refused.output
    assert "NotFound" in lab.run(
        *("kubectl", "--namespace", "xnat", "get", "peerauthentication", "default"), check=False
    )
    wrong = run(lab, output, "--approve", "prod", "--only", "04_mutual_tls")
    assert wrong.code == 3
    assert f"RUNBOOK_APPROVE names 'prod', and this is {lab_name(second)!r}" in wrong.output


def test_changes_that_are_pending_have_an_exit_code_of_their_own(
    lab: Lab, second: Run, output: Path
) -> None:
    assert second.code == 0
    plan = ("--detailed-exitcode", "--only", "02_label_namespace")
    assert run(lab, output, *plan, command="plan").code == 0
    lab.run("kubectl", "label", "namespace", "xnat", "istio-injection-")
    pending = run(lab, output, *plan, command="plan")
    assert pending.code == 7
    assert "1 of 3 steps have changes pending" in pending.output

    # What was planned is approved as it was, and a foreign change meanwhile stops just that step.
    reviewed = ("--approve-plan", str(pending.folder), "--only", "02_label_namespace")
    lab.run("kubectl", "annotate", "namespace", "xnat", "team=imaging")
    stopped = run(lab, output, *reviewed)
    assert stopped.code == 3, stopped.output
    assert stopped.outcomes == {
        "injection-canary": "verified",
        "injection-label": "not approved",
        "injection-restart": "not run",
    }
    assert "metadata.annotations: nothing when reviewed, {'team': 'imaging'} now" in stopped.output
    lab.run("kubectl", "annotate", "namespace", "xnat", "team-")
    done = run(lab, output, *reviewed)
    assert done.code == 0, done.output
    assert list(done.changed) == ["injection-label"]


def test_a_run_mends_what_was_taken_away(lab: Lab, second: Run, output: Path) -> None:
    lab.run(
        *("kubectl", "--namespace", "xnat", "delete", "peerauthentication", "default"),
        "--ignore-not-found",
    )
    mended = run(lab, output, "--approve", lab_name(second), "--only", "04_mutual_tls")
    assert mended.code == 0, mended.output
    assert mended.changed == {"mutual-tls-exception": ["create PeerAuthentication xnat/default"]}
    assert mended.answers("mutual-tls-exception")["GET"] == OWN["GET"]


def test_a_field_that_others_manage_is_shown_and_not_taken(
    lab: Lab, second: Run, output: Path
) -> None:
    assert second.code == 0
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "istio-system"},
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }
    apply = ("kubectl", "apply", "--server-side", "--force-conflicts", "--filename", "-")
    lab.run(*apply, "--field-manager", "somebody", stdin=json.dumps(policy))
    refused = run(lab, output, "--only", "04_mutual_tls")
    assert refused.code == 4
    assert refused.outcomes["mutual-tls-strict"] == "refused"
    assert "somebody manages .spec.mtls.mode" in refused.output
    assert refused.outcomes["mutual-tls-exception"] == "not run"
    shown = lab.run("kubectl", "get", "peerauthentication", "--all-namespaces")
    assert "PERMISSIVE" in shown
    set_back = ("kubectl", "--namespace", "istio-system", "set", "resources", "deployment/istiod")
    lab.run(*set_back, "--requests=cpu=501m")
    drift = execute(lab, "-m", "runbook_lib", "verify", "--runs", str(output), "--output", "json")
    assert drift.returncode == 6, drift.stdout
    found = {each["step"]: each for each in json.loads(drift.stdout)["steps"]}
    differing = {name for name, each in found.items() if each["standing"] != "holds"}
    assert differing == {"install-istiod", "mutual-tls-strict"}
    (policy_change,) = found["mutual-tls-strict"]["changes"]
    assert policy_change["fields"][0]["manager"] == "somebody"
    assert policy_change["fields"][0]["path"] == ".spec.mtls.mode"
    assert found["mutual-tls-strict"]["proved"]["run"] in {each.name for each in output.iterdir()}
    (deployment,) = found["install-istiod"]["changes"]
    assert "-            cpu: 501m" in deployment["diff"]
    lab.run(*set_back, "--requests=cpu=500m")
    lab.run("kubectl", "--namespace", "istio-system", "delete", "peerauthentication", "default")
    assert run(lab, output, "--only", "04_mutual_tls").code == 0


def test_a_lab_that_is_not_running_is_bad_input(lab: Lab, output: Path) -> None:
    missing = run(lab, output, RUNBOOK_LAB="nobody-started-this")
    assert missing.code == 2
    assert "lab 'nobody-started-this' is not running" in missing.output
    assert "python -m runbook_lib lab up" in missing.output
    assert set(missing.outcomes.values()) == {"not run"}


def test_bad_parameters_make_no_run_folder(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("target: {kind: lab}\nstroy: safe\n")
    done = execute(
        lab,
        *("-m", "runbook_lib", "run", "--parameters", str(tmp_path / "bad.yaml")),
        *("--runs", str(tmp_path / "runs")),
    )
    assert done.returncode == 2
    assert "line 2, stroy: unknown key → did you mean 'story'?" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_an_interrupted_run_ends_its_kernels_and_can_go_on(
    lab: Lab, second: Run, output: Path
) -> None:
    assert second.code == 0
    with start(lab, output, subprocess.PIPE) as process:
        assert process.stdout is not None
        assert any(line == "01_install_istio\n" for line in process.stdout)
        kernels = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "run again to go on" in rest
    assert kernels
    # One that has ended may wait to be reaped by whoever inherited it; it has ended all the same.
    _, alive = psutil.wait_procs(kernels, timeout=5)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
    assert run(lab, output, "--only", "01_install_istio").code == 0


def test_a_kernel_that_is_killed_in_mid_change_leaves_an_unknown_state(
    lab: Lab, second: Run, output: Path
) -> None:
    assert second.code == 0
    lab.run("kubectl", "label", "namespace", "xnat", "istio-injection-")
    lab.run("kubectl", "--namespace", "xnat", "delete", "pods", "--all", "--wait")
    earlier = set(output.glob("*"))
    with start(lab, output, subprocess.PIPE, "--only", "02_label_namespace") as process:

        def applying() -> State:
            folders = set(output.glob("*")) - earlier
            reached = [runs.record_of(folder).step(*RESTART) for folder in folders]
            begun = any(step.outcome is StepOutcome.INTERRUPTED for step in reached)
            return State(begun, ", ".join(step.outcome for step in reached))

        until("the restart to begin", applying, timeout=60, interval=0.02)
        for child in psutil.Process(process.pid).children(recursive=True):
            if "ipykernel" in " ".join(child.cmdline()):
                child.kill()
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 8, said
    (folder,) = set(output.glob("*")) - earlier
    _, restart = RESTART
    assert Run(8, said, folder).outcomes[restart] == "interrupted"
    unknown = "interrupted while applying: state unknown, run again"
    assert f"? {restart}: {unknown}" in said
    assert f"Interrupted while {restart} was being applied: its state is unknown." in said
    assert "The site answers GET /" in said
    assert f"? {unknown}" in (folder / "report.html").read_text()
    assert run(lab, output, "--only", "02_label_namespace").code == 0


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_every_artefact(
    lab: Lab, second: Run, output: Path, sent: signal.Signals, code: int
) -> None:
    assert second.code == 0
    earlier = set(output.glob("*"))
    with start(lab, output, subprocess.PIPE, "--only", "01_install_istio") as process:
        assert process.stdout is not None
        assert any(line == "01_install_istio\n" for line in process.stdout)
        process.send_signal(sent)
        rest = process.stdout.read()
    assert process.returncode == code, rest
    (folder,) = set(output.glob("*")) - earlier
    assert Run(code, rest, folder).summary["ended_by"] == sent.name
    assert (folder / "report.html").is_file()


def notebooks_here() -> dict[Path, bytes]:
    """The notebooks in the repository, with their content."""
    root = repository_root()
    return {
        path: path.read_bytes() for path in (*root.glob("*.ipynb"), *root.glob("notebooks/*.ipynb"))
    }


@pytest.fixture(scope="module", autouse=True)
def untouched() -> dict[Path, bytes]:
    """What there was before the first run."""
    return notebooks_here()


def test_runs_leave_nothing_beside_the_notebooks_and_change_none(
    untouched: dict[Path, bytes],
) -> None:
    assert notebooks_here() == untouched


def lab_name(done: Run) -> str:
    """The target's name, as an approval names it."""
    assert done.record.started is not None
    return done.record.started.target
