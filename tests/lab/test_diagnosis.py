"""The diagnosis on a real mesh: each injected fault is named first, and a healthy mesh is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from runbook_lib.base.locations import repository_root
from runbook_lib.chapters.autoscaling import steps as autoscaling
from runbook_lib.chapters.kiali import steps as kiali
from runbook_lib.chapters.policies import authorization, manifest, mutual_tls
from runbook_lib.chapters.shared import preflight
from runbook_lib.diagnosis.model import Diagnosis
from tests.faults import addons, application, harmless, injection, misjudged, policies
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
    "a dry run's log that was left": ("dry-run-log-left", policies.dry_run_log_left),
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


@dataclass(frozen=True)
class Case:
    """A fault of which something else was once said.

    Attributes:
        cause: What must be named first.
        fault: Puts it in.
        evidence: What the first cause must show: the very field of the very object.
        never: What must not be said anywhere: remedies that would break what works.
        says: What the first cause must say.
        also: What is true besides, and may be named.
        quick: Whether every run tries it, and not only `make test-faults`.
    """

    cause: str
    fault: Fault
    evidence: str
    never: str = ""
    says: str = ""
    also: str = ""
    quick: bool = False


MISJUDGED: dict[str, Case] = {
    "an ALLOW for addresses alone": Case(
        "allow-policy-excludes",
        misjudged.by_address("ALLOW", "203.0.113.0/24", alone=True),
        "AuthorizationPolicy xnat/other-team .spec.rules[0].from[0].source.ipBlocks: "
        "203.0.113.0/24",
        never=".spec.rules: none",
    ),
    "a method is missing beside a DENY for addresses": Case(
        "method-missing",
        misjudged.method_missing_beside_a_denial,
        "AuthorizationPolicy xnat/xnat-all .spec.rules[0].to[0].operation.methods: GET, HEAD",
        never="other-team",
    ),
    "a LimitRange refuses the web pod": Case(
        "pods-refused",
        misjudged.limit_range("xnat-xnat-web"),
        "LimitRange xnat/small .spec.limits[0].max.cpu: 1",
    ),
    "a LimitRange refuses the database's pod": Case(
        "pods-refused",
        misjudged.limit_range("xnat-postgresql"),
        "LimitRange xnat/small .spec.limits[0].max.cpu: 1",
    ),
    "pod security refuses the database's pod": Case(
        "pods-refused",
        misjudged.pod_security_and_no_database,
        "Namespace xnat .metadata.labels.pod-security.kubernetes.io/enforce: baseline",
    ),
    "an init container calls a Service that is gone": Case(
        "init-container-waits",
        misjudged.database_service_gone,
        "Pod xnat/xnat-xnat-web-0 .spec.initContainers[2].args[0]: … xnat-postgresql …",
        never="memory limits",
    ),
    "an init container speaks plaintext to a strict server": Case(
        "init-container-waits",
        misjudged.CLASSIC_SIDECAR,
        "Pod xnat/xnat-xnat-web-0 .metadata.annotations.sidecar.istio.io/nativeSidecar: false",
        never="memory limits",
    ),
    "an older Service says tcp": Case(
        "protocol-not-http",
        misjudged.older_service_says_tcp,
        "Service xnat/a-team .spec.ports[0].name: tcp-web",
        never="beyond the cluster",
    ),
    "istiod is newer than the sidecars": Case(
        "sidecar-outdated",
        misjudged.newer_istiod,
        "Pod xnat/xnat-postgresql-0 image of istio-proxy:",
        quick=True,
    ),
    "istiod does not look at the namespace": Case(
        "namespace-not-discovered",
        misjudged.mesh_config("discoverySelectors: [{matchLabels: {team: other}}]"),
        'ConfigMap istio-system/istio .data.mesh: discoverySelectors: [{"matchLabels":',
        quick=True,
    ),
    "another namespace is the mesh's root": Case(
        "policy-not-mesh-wide",
        misjudged.mesh_config("rootNamespace: istio-config"),
        "ConfigMap istio-system/istio .data.mesh: rootNamespace: istio-config",
    ),
    "a NetworkPolicy denies everything": Case(
        "network-policy-closes",
        misjudged.default_deny,
        "NetworkPolicy xnat/default-deny .spec.egress: no rule",
        also="network-policy-locks-out",
        quick=True,
    ),
    "many sidecars get no certificate": Case(
        "sidecar-unstable",
        misjudged.many_without_istiod,
        "log of istio-proxy: ",
        says="4 pods of Deployment xnat/many, such as many-",
    ),
    "the labels in the parameters select nothing": Case(
        "web-labels-mistaken",
        misjudged.labels_of_no_pod,
        "StatefulSet xnat/xnat-xnat-web .spec.template.metadata.labels: app=xnat-web",
        never="edit service",
        quick=True,
    ),
    "the webhook asks at a port that is not there": Case(
        "webhook-unreachable",
        misjudged.webhook_at_a_closed_port,
        "MutatingWebhookConfiguration istio-sidecar-injector .webhooks[0].clientConfig.service: "
        "istio-system/istiod, port 15999",
        quick=True,
    ),
    "the web pods are marked to get no sidecar": Case(
        "pod-opts-out",
        misjudged.WITHOUT_SIDECAR,
        "StatefulSet xnat/xnat-xnat-web .spec.template.metadata.labels.sidecar.istio.io/inject: "
        '"false"',
        never="no injection webhook selects the namespace",
        quick=True,
    ),
    "a Job's sidecar outlives its work": Case(
        "job-not-completed",
        misjudged.job_that_never_completes,
        "Pod xnat/work-",
        never="memory limits",
    ),
    "a StatefulSet waits for a pod of before": Case(
        "pod-left-behind",
        misjudged.left_behind,
        "StatefulSet xnat/xnat-xnat-web .status.updateRevision: ",
    ),
}

EVERY = os.environ.get("RUNBOOK_FAULTS") == "all"
TRIED = [name for name, case in MISJUDGED.items() if case.quick or EVERY]


@dataclass
class Score:
    """What came of each fault: the cause that was injected, and the causes found."""

    found: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    also: dict[str, str] = field(default_factory=dict)

    @property
    def recall(self) -> float:
        """The share of faults whose cause was found first."""
        return sum(found[:1] == (c,) for c, found in self.found.values()) / len(self.found)

    @property
    def precision(self) -> float:
        """The share of all findings that are true: they name what was injected, or a part of it."""
        every = [
            name in (cause, self.also.get(fault))
            for fault, (cause, found) in self.found.items()
            for name in found
        ]
        return sum(every) / max(len(every), 1)


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


@pytest.mark.parametrize("name", TRIED)
def test_a_cause_is_told_from_what_looks_like_it(site: Site, score: Score, name: str) -> None:
    case = MISJUDGED[name]
    with case.fault(site):
        diagnosis = site.diagnoses[name] = site.diagnose()
        score.found[name] = (case.cause, tuple(f.name for f in diagnosis.findings))
        score.also[name] = case.also
    site.until_healthy()
    assert [finding.name for finding in diagnosis.findings][:1] == [case.cause], str(diagnosis)
    assert any(case.evidence in line for line in diagnosis.findings[0].evidence), str(diagnosis)
    assert case.says in diagnosis.findings[0].what
    assert not case.never or case.never not in str(diagnosis)


def test_a_revision_tag_is_no_fault_and_no_second_control_plane(site: Site) -> None:
    with misjudged.tagged(site):
        diagnosis = site.diagnose()
        refused = list(preflight.control_plane(site.context))
    assert diagnosis.healthy, str(diagnosis)
    assert "it is a tag of revision default" in refused[0].what
    site.until_healthy()


def test_a_daemon_set_in_the_restart_order_is_looked_at(site: Site) -> None:
    with misjudged.daemon_set(site):
        diagnosis = site.diagnose()
    assert diagnosis.healthy, str(diagnosis)


def test_of_twenty_harmless_changes_nothing_is_said(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nRUNBOOK_SEED={harmless.SEED}", end="", flush=True)
    with harmless.changed(site.lab, "xnat") as done:
        diagnosis = site.diagnose()
    assert len(done) == 20
    assert diagnosis.healthy, f"{done}\n{diagnosis}"


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
