"""The diagnosis on a real mesh: each injected fault is named first, and a healthy mesh is not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from runbook_lib.base.locations import repository_root
from runbook_lib.chapters.autoscaling import steps as autoscaling
from runbook_lib.chapters.kiali import steps as kiali
from runbook_lib.chapters.policies import authorization, manifest, mutual_tls
from runbook_lib.diagnosis.model import Diagnosis
from tests.faults import addons, application, injection, policies
from tests.faults.site import FRONT, OTHER, WEB, Fault, Site
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(300)]


FAULTS: dict[str, tuple[str, Fault]] = {
    "the namespace's label is gone": ("label-missing", injection.label_missing),
    "two labels contradict each other": ("two-labels", injection.two_labels),
    "a pod was not restarted": ("pod-without-sidecar", injection.pod_not_restarted),
    "the webhook is gone": ("webhook-missing", injection.webhook_deleted),
    "the webhook points nowhere": ("webhook-unreachable", injection.webhook_pointing_nowhere),
    "istiod is scaled to 0": ("istiod-down", injection.istiod_down),
    "istiod is scaled to 0 beside a canary": ("istiod-down", injection.istiod_down_beside_a_canary),
    "another webhook is away": ("other-webhook-unreachable", injection.another_webhook_is_away),
    "pod security forbids sidecars": ("pods-refused", injection.pod_security_forbids_sidecars),
    "a quota leaves no room": ("pods-refused", injection.quota_leaves_no_room),
    "STRICT without an exception": ("exception-missing", policies.strict_without_exception),
    "STRICT without an exception, beside one of others": (
        "exception-missing",
        policies.strict_without_exception_beside_one_of_others,
    ),
    "the Service's port in the exception": (
        "exception-service-port",
        policies.exception(portLevelMtls={"80": {"mode": "DISABLE"}}),
    ),
    "any other port in the exception": (
        "exception-other-port",
        policies.exception(portLevelMtls={"9090": {"mode": "DISABLE"}}),
    ),
    "the exception selects nothing": (
        "exception-selects-nothing",
        policies.exception(selector={"matchLabels": {"app": "xnat"}}),
    ),
    "the exception's port is STRICT": (
        "exception-is-strict",
        policies.exception(portLevelMtls={"8080": {"mode": "STRICT"}}),
    ),
    "the exception is in another namespace": (
        "exception-elsewhere",
        policies.exception_in_another_namespace,
    ),
    "an older policy for the same pods": ("exception-shadowed", policies.an_older_policy_wins),
    "a method is missing": (
        "method-missing",
        policies.own_policy("POST", 403, 200, methods=["GET", "HEAD"]),
    ),
    "the policy forgets the health check's path": (
        "allow-policy-excludes",
        policies.own_policy("GET", 403, 200, paths=["/data/*"]),
    ),
    "the policy selects nothing": (
        "policy-selects-nothing",
        policies.own_policy("DELETE", 405, 403, labels={"app": "xnat"}),
    ),
    "somebody else's ALLOW forgets GET": (
        "allow-policy-excludes",
        policies.other_policy("ALLOW", ["POST"], ("GET", 403), 200, alone=True),
    ),
    "somebody else denies GET": (
        "denied-by-policy",
        policies.other_policy("DENY", ["GET"], ("GET", 403), 200),
    ),
    "somebody else allows DELETE": (
        "access-widened",
        policies.other_policy("ALLOW", ["DELETE"], ("DELETE", 405), 403),
    ),
    "mutual TLS to a plaintext port": (
        "destination-rule-conflict",
        policies.mutual_tls_to_a_plaintext_port,
    ),
    "mutual TLS to a database without sidecar": (
        "destination-rule-conflict",
        policies.mutual_tls_to_a_database_without_sidecar,
    ),
    "the sidecar was killed": ("sidecar-unstable", application.sidecar_killed),
    "the application hangs": ("container-not-ready", application.application_hangs),
    "the application is scaled to 0": ("scaled-to-zero", application.scaled_to_zero),
    "the Service selects nothing": (
        "service-selects-nothing",
        application.service("/spec/selector/app.kubernetes.io~1name", "other", status=503),
    ),
    "the Service's targetPort is wrong": (
        "target-port-wrong",
        application.service("/spec/ports/0/targetPort", 9090, status=502),
    ),
    "the Service is gone": ("service-missing", application.service_deleted),
    "the autoscaler was set back": ("autoscaler-skewed", addons.autoscaler_set_back),
    "the sidecar has no request": ("autoscaler-blind", addons.sidecar_without_a_request),
    "the application has no request": ("autoscaler-inactive", addons.application_without_a_request),
    "an autoscaler's target is gone": ("autoscaler-inactive", addons.autoscaler_of_nothing),
    "Kiali is scaled to 0": ("kiali-down", addons.kiali_scaled_to_zero),
    "Kiali's operator fails": ("kiali-failed", addons.kiali_with_a_strategy_that_there_is_not),
    "a token of an account that is gone": ("kiali-token", addons.token_of_an_account_that_is_gone),
    "a token that has expired": ("kiali-token", addons.token_that_has_expired),
    "a text that is no token": ("kiali-token", addons.no_token_at_all),
    "the port is declared to be TCP": (
        "protocol-not-http",
        application.service(
            "/spec/ports/0/name", "tcp-web", status=502, names=("xnat-xnat-web", FRONT)
        ),
    ),
}


@dataclass
class Score:
    """What came of each fault: the cause that was injected, and the causes found."""

    found: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def recall(self) -> float:
        """The share of faults whose cause was found first."""
        return sum(found[:1] == (c,) for c, found in self.found.values()) / len(self.found)

    @property
    def precision(self) -> float:
        """The share of all findings that name what was injected."""
        every = [(cause, name) for cause, found in self.found.values() for name in found]
        return sum(cause == name for cause, name in every) / max(len(every), 1)


@pytest.fixture(scope="module")
def score() -> Score:
    """Shared by the faults; the last test judges it."""
    return Score()


@pytest.fixture(scope="module")
def stages() -> dict[str, Diagnosis]:
    """What was found at each stage of the runbook."""
    return {}


@pytest.fixture(scope="module")
def site(lab: Lab, stages: dict[str, Diagnosis], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The whole runbook, applied stage by stage."""
    site = Site(lab, lab.context(tmp_path_factory.mktemp("run"), story="safe"))
    given = site.context.parameters
    stages["nothing installed"] = site.diagnose()
    lab.install_mesh()
    stages["after 02_label_namespace"] = site.diagnose()
    for name, chapter in (
        ("03_autoscaling", autoscaling),
        ("04_mutual_tls", mutual_tls),
        ("05_authorization", authorization),
        ("06_kiali", kiali),
    ):
        for step in chapter.steps(given):
            step.apply(site.context, step.plan(site.context))
            step.verify(site.context)
        stages[f"after {name}"] = site.diagnose()
    return site


def test_every_stage_of_the_runbook_is_healthy(site: Site, stages: dict[str, Diagnosis]) -> None:
    assert len(stages) == 6
    for name, diagnosis in stages.items():
        assert diagnosis.healthy, f"{name}:\n{diagnosis}"
        assert len(diagnosis.looked) >= 14, name
    assert [look.what for look in stages["after 06_kiali"].unseen] == ["access log of the sidecars"]
    site.until_healthy()


@pytest.mark.parametrize("name", FAULTS)
def test_an_injected_cause_is_found_first(site: Site, score: Score, name: str) -> None:
    cause, fault = FAULTS[name]
    with fault(site):
        diagnosis = site.diagnoses[name] = site.diagnose()
        score.found[name] = (cause, tuple(f.name for f in diagnosis.findings))
    site.until_healthy()
    assert [finding.name for finding in diagnosis.findings][:1] == [cause], str(diagnosis)


@pytest.mark.parametrize(
    ("name", "consequences"),
    [
        ("istiod is scaled to 0", ["webhook-unreachable"]),
        ("istiod is scaled to 0 beside a canary", ["webhook-unreachable"]),
        ("a quota leaves no room", ["pods-missing", "no-endpoints"]),
        ("mutual TLS to a database without sidecar", ["container-not-ready", "no-endpoints"]),
    ],
)
def test_what_follows_from_a_cause_hangs_on_it(
    site: Site, name: str, consequences: list[str]
) -> None:
    diagnosis = site.diagnoses.get(name)
    assert diagnosis, "run this with the faults"
    (finding,) = diagnosis.findings
    assert [each.name for each in finding.consequences] == consequences


def test_the_api_server_says_that_a_token_has_expired(site: Site) -> None:
    diagnosis = site.diagnoses.get("a token that has expired")
    assert diagnosis, "run this with the faults"
    (finding,) = diagnosis.findings
    assert "has expired" in finding.evidence[0]


def test_the_controller_says_what_an_autoscaler_lacks(site: Site) -> None:
    diagnosis = site.diagnoses.get("an autoscaler's target is gone")
    assert diagnosis, "run this with the faults"
    (finding,) = diagnosis.findings
    assert "there is no StatefulSet/nowhere" in finding.what
    assert any("AbleToScale is False: FailedGetScale" in line for line in finding.evidence)


def test_what_only_istiod_knows_is_unseen_without_it(site: Site) -> None:
    diagnosis = site.diagnoses.get("istiod is scaled to 0")
    assert diagnosis, "run this with the faults"
    assert "istioctl proxy-status" in [look.what for look in diagnosis.unseen]


def test_a_policy_that_refuses_the_dry_run_alone_is_named_and_no_cause(site: Site) -> None:
    with injection.pods_need_an_owner(site):
        diagnosis = site.diagnose()
        site.restart_web()
    assert diagnosis.healthy, str(diagnosis)
    (unseen,) = [look for look in diagnosis.unseen if look.what == "a new web pod (dry run)"]
    assert "ValidatingAdmissionPolicy 'owned'" in unseen.found
    assert {"webhook-missing", "webhook-unreachable"} <= set(diagnosis.unjudged)
    site.until_healthy()


def _command_line(site: Site, *options: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "runbook_lib", "diagnose", *options),
        input=stdin,
        cwd=repository_root(),
        env=site.lab.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_line_says_the_same_and_its_exit_code_tells(site: Site) -> None:
    done = _command_line(site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing found" in done.stdout
    with injection.label_missing(site):
        done = _command_line(site)
    assert done.returncode == 1, done.stderr
    assert "fault: label-missing" in done.stdout
    site.until_healthy()
    done = _command_line(site, "--kiali-token", "-", stdin="my-old-token")
    assert done.returncode == 1, done.stderr
    assert "fault: kiali-token" in done.stdout
    assert "my-old-token" not in done.stdout + done.stderr


def test_the_api_server_refuses_an_exception_without_a_selector(site: Site) -> None:
    right = manifest.mutual_tls_exception(site.context.parameters, WEB)
    wrong = {**right, "metadata": OTHER, "spec": {"portLevelMtls": right["spec"]["portLevelMtls"]}}
    answer = site.kubectl("create", "--filename", "-", stdin=json.dumps(wrong), check=False)
    assert "portLevelMtls requires selector" in answer


def test_every_cause_is_found_and_little_else(
    site: Site, score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score.found, "run this with the faults"
    with capsys.disabled():
        print(
            f"\n{len(score.found)} faults: recall {score.recall:.0%}, "
            f"precision {score.precision:.0%}; {len(site.seconds)} diagnoses, "
            f"median {sorted(site.seconds)[len(site.seconds) // 2]:.1f} s, "
            f"longest {max(site.seconds):.1f} s"
        )
        for name, (cause, found) in score.found.items():
            if found != (cause,):
                print(f"  {name}: injected {cause}, found {', '.join(found)}")
    assert score.recall == 1.0, score.found
    assert score.precision >= 0.8, score.found
