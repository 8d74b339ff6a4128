"""Chapter 06 on a real mesh: the steps as they are run, what goes wrong, and the way back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from runbook_lib.base.errors import RunbookError, WaitFailed
from runbook_lib.base.wait import State, until
from runbook_lib.chapters.kiali import access as kiali_access
from runbook_lib.chapters.kiali import steps as kiali
from runbook_lib.chapters.kiali import tracing
from runbook_lib.chapters.policies import manifest
from runbook_lib.cluster import accounts
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.step import Verification
from tests.labs import Lab, named, take

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(240)]

MakeContext = Callable[..., Context]
Kubectl = Callable[..., str]

CERTIFICATE = "arn:aws:acm:ap-southeast-2:111122223333:certificate/0a1b2c3d"
SYSTEM = "istio-system"


@pytest.fixture(scope="module")
def make(mesh: Lab, tmp_path_factory: pytest.TempPathFactory) -> MakeContext:
    """Contexts on the mesh, with some parameters given."""
    folder = tmp_path_factory.mktemp("evidence")
    # Shorter than a test may take, so that what is waited for is said.
    limits = {"kiali": 100}
    return lambda timeouts=None, **given: mesh.context(
        folder, timeouts={**limits, **(timeouts or {})}, **given
    )


@pytest.fixture
def kubectl(mesh: Lab) -> Kubectl:
    """Run kubectl in istiod's namespace."""
    return lambda *words, **more: mesh.run("kubectl", "--namespace", SYSTEM, *words, **more)


def table(verification: Verification, title: str) -> dict[str, str]:
    """What a table of checks found, by what was looked at."""
    (found,) = [each for each in verification.tables if each.title == title]
    return {row.cells[0]: row.cells[1] for row in found.rows}


@pytest.fixture(scope="module")
def verified(make: MakeContext) -> dict[str, Verification]:
    """The whole chapter, each step's verification by its name."""
    context = make()
    return {step.name: take(context, step.name)[1] for step in kiali.steps(context.parameters)}


class TestInstall:
    """Everything as the parameters say."""

    def test_every_step_is_verified(self, verified: dict[str, Verification]) -> None:
        assert list(verified) == [
            "kiali-operator",
            "kiali-addons",
            "kiali-tracing",
            "kiali-instance",
            "kiali-readers",
        ]
        assert [name for name, each in verified.items() if not each.ok] == []

    def test_kiali_refuses_who_has_no_token_and_finds_all_that_it_reads(
        self, verified: dict[str, Verification]
    ) -> None:
        found = table(verified["kiali-instance"], "Kiali's own answers")
        assert found["without a token"] == found["with a wrong token"] == "401"
        assert found["with a token"] == "200"
        wanted = dict.fromkeys(("sees istiod", "sees prometheus", "sees tracing"), "Healthy")
        assert wanted.items() <= found.items()

    def test_prometheus_reads_and_jaeger_answers(self, verified: dict[str, Verification]) -> None:
        found = table(verified["kiali-addons"], "Add-ons")
        assert found["Prometheus"] == "answers, and reads istiod and the sidecars of xnat"
        assert found["Jaeger"] == "answers queries"

    def test_an_istiod_of_others_is_not_told_to_trace(
        self, verified: dict[str, Verification]
    ) -> None:
        (why,) = table(verified["kiali-tracing"], "Traces").values()
        assert "istiod was not installed by this runbook" in why

    @pytest.mark.usefixtures("verified")
    def test_a_rerun_changes_nothing(self, make: MakeContext) -> None:
        context = make()
        for step in kiali.steps(context.parameters):
            plan, verification = take(context, step.name)
            assert plan.empty, str(plan)
            assert verification.ok, str(verification)

    @pytest.mark.usefixtures("verified")
    def test_traces_arrive_from_an_istiod_that_was_handed_over(
        self, make: MakeContext, kubectl: Kubectl
    ) -> None:
        """It is upgraded for that, and then keeps the provider; the way back ends the traces."""
        owner = ("--selector", "owner=helm,name=istiod")
        kubectl("label", "secret", *owner, "installed-by=istio-runbook")
        try:
            context = make()
            plan, verification = take(context, "kiali-tracing")
            assert [(change.action, change.ref) for change in plan.changes] == [
                ("upgrade", "Helm release istiod"),
                ("create", "Telemetry xnat/tracing"),
            ]
            assert verification.ok, str(verification)
            found = table(verification, "Traces")["a request from outside"]
            assert found == "traced: Jaeger has spans of xnat-web.xnat"
            assert named(context, "kiali-tracing").plan(context).empty
            assert take(context, "rollback-tracing")[1].ok
            silent = make(timeouts={"policy": 1})

            def observe() -> State:
                check = tracing._trace_check(silent)
                return State(not check.ok, check.found)

            until("the sidecars to report nothing any more", observe, timeout=30)
        finally:
            kubectl("label", "secret", *owner, "installed-by-")

    @pytest.mark.usefixtures("verified")
    def test_kiali_agrees_that_the_mesh_is_strict(
        self, mesh: Lab, make: MakeContext, kubectl: Kubectl
    ) -> None:
        context = make()
        strict = json.dumps(manifest.strict_mutual_tls(context.parameters))
        mesh.run("kubectl", "apply", "--filename", "-", stdin=strict)
        try:
            _, verification = take(context, "kiali-instance")
        finally:
            kubectl("delete", "peerauthentication", "default")
        assert verification.ok, str(verification)
        found = table(verification, "Kiali's own answers")
        assert found["mutual TLS in the mesh"] == "MTLS_ENABLED"

    @pytest.mark.usefixtures("verified")
    def test_the_address_leads_to_kiali(self, make: MakeContext) -> None:
        found = kiali_access.address(make())
        assert httpx.get(f"{found.url}/healthz", trust_env=False, timeout=10).status_code == 200

    @pytest.mark.usefixtures("verified")
    def test_a_prometheus_that_is_away_is_named(self, make: MakeContext, kubectl: Kubectl) -> None:
        context = make(timeouts={"policy": 3})
        kubectl("scale", "deployment/prometheus", "--replicas=0")
        kubectl("wait", "--for=delete", "pod", "--selector=app.kubernetes.io/name=prometheus")
        try:
            verification = named(context, "kiali-instance").verify(context)
            addons = named(context, "kiali-addons").verify(context)
        finally:
            kubectl("scale", "deployment/prometheus", "--replicas=1")
            kubectl("rollout", "status", "deployment/prometheus", "--timeout=60s")
        assert not verification.ok
        assert table(verification, "Kiali's own answers")["sees prometheus"] != "Healthy"
        # Nobody wants more of it, so its Deployment is complete; it does not answer.
        assert not addons.ok
        assert "no way to its Service" in table(addons, "Add-ons")["Prometheus"]


HOST = {"host": "kiali.example.com"}
AWS = {**HOST, "certificate_arn": CERTIFICATE}
MODERN = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
NLB, ALB = "service.beta.kubernetes.io/aws-load-balancer", "alb.ingress.kubernetes.io"
CONTROLLERS = {
    "alb": "ingress.k8s.aws/alb",
    "nginx": "k8s.io/ingress-nginx",
    "traefik": "traefik.io/ingress-controller",
}
_NLB_POLICY = f"object.metadata[?'annotations'][?'{NLB}-ssl-negotiation-policy'].orValue('')"
_ALB_POLICY = f"object.metadata[?'annotations'][?'{ALB}/ssl-policy'].orValue('')"
RULES = {
    "balancers-offer-tls-1-3": (
        ("", "services"),
        f"object.spec.type != 'LoadBalancer' || {_NLB_POLICY}.contains('TLS13')",
    ),
    "ingresses-end-tls": (
        ("networking.k8s.io", "ingresses"),
        f"size(object.spec[?'tls'].orValue([])) > 0 || {_ALB_POLICY}.contains('TLS13')",
    ),
}
"""What a platform may demand of Services and Ingresses: their API group and kind, and how."""


def applied(mesh: Lab, *objects: Any) -> str:
    """Apply objects; returns them as text, by which they are deleted."""
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    mesh.run("kubectl", "apply", "--filename", "-", stdin=given)
    return given


@pytest.fixture(scope="module")
def controllers(mesh: Lab, verified: dict[str, Verification]) -> None:
    """Classes of Ingresses, and the kind by which the AWS Load Balancer Controller shows."""
    assert verified
    names = {"kind": "TargetGroupBinding", "plural": "targetgroupbindings"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1beta1", "served": True, "storage": True, "schema": schema}
    kind = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "targetgroupbindings.elbv2.k8s.aws"},
        "spec": {
            "group": "elbv2.k8s.aws",
            "names": {**names, "singular": "targetgroupbinding"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }
    classes = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": name},
            "spec": {"controller": controller},
        }
        for name, controller in CONTROLLERS.items()
    ]
    applied(mesh, kind, *classes)


@pytest.fixture(scope="class")
def platform(mesh: Lab) -> Iterator[None]:
    """Admission rules."""
    objects: list[Any] = []
    for name, ((group, resource), expression) in RULES.items():
        rule = {
            "apiGroups": [group],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": [resource],
        }
        policy = {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SYSTEM}},
                "resourceRules": [rule],
            },
            "validations": [{"expression": expression, "message": f"by our rule {name}"}],
        }
        binding = {"policyName": name, "validationActions": ["Deny"]}
        for kind, spec in (("", policy), ("Binding", binding)):
            objects.append(
                {
                    "apiVersion": "admissionregistration.k8s.io/v1",
                    "kind": f"ValidatingAdmissionPolicy{kind}",
                    "metadata": {"name": name},
                    "spec": spec,
                }
            )
    given = applied(mesh, *objects)
    refused = (
        *("kubectl", "--namespace", SYSTEM, "create", "service", "loadbalancer", "trial"),
        *("--tcp=80", "--dry-run=server"),
    )

    def observe() -> State:
        said = mesh.run(*refused, check=False)
        return State("by our rule" in said, said)

    # The API server compiles a policy a moment after it has stored it.
    until("the rules to be in force", observe, timeout=30)
    yield
    mesh.run("kubectl", "delete", "--filename", "-", stdin=given)

    def forgotten() -> State:
        said = mesh.run(*refused, check=False)
        return State("created" in said, said)

    until("the rules to be forgotten", forgotten, timeout=30)


@pytest.mark.usefixtures("controllers", "platform")
class TestExposure:
    """What each way in would change, by the API server's own dry run and a platform's rules."""

    @pytest.mark.parametrize(
        ("given", "lines", "note"),
        [
            ({"exposure": "cluster"}, ["service_type: ClusterIP"], "its type changes"),
            (
                {"exposure": "nlb-tls", **AWS, "source_ranges": ["10.0.0.0/8"]},
                [
                    f"{NLB}-type: external",
                    f"{NLB}-ssl-cert: {CERTIFICATE}",
                    f"{NLB}-ssl-negotiation-policy: {MODERN}",
                    f"{NLB}-ssl-ports: '20001'",
                    "- 10.0.0.0/8",
                    "web_fqdn: kiali.example.com",
                    "web_schema: https",
                ],
                "does not take over a load balancer",
            ),
            (
                {"exposure": "nlb-tls", **AWS, "load_balancer_class": "eks.amazonaws.com/nlb"},
                ["loadBalancerClass: eks.amazonaws.com/nlb"],
                "nothing shows a controller for eks.amazonaws.com/nlb",
            ),
            (
                {"exposure": "alb-ingress", **AWS, "source_ranges": ["10.0.0.0/8"]},
                [
                    "class_name: alb",
                    f"{ALB}/scheme: internal",
                    f"{ALB}/certificate-arn: {CERTIFICATE}",
                    f"{ALB}/ssl-policy: {MODERN}",
                    f"{ALB}/inbound-cidrs: 10.0.0.0/8",
                    "ingressClassName: alb",
                    "service_type: ClusterIP",
                ],
                "its type changes",
            ),
            (
                {"exposure": "ingress", **HOST, "ingress_class": "nginx"},
                ["ingressClassName: nginx", "web_schema: https"],
                "ingress-nginx, was retired in March 2026",
            ),
            (
                {"exposure": "ingress", **HOST, "ingress_class": "traefik", "tls_secret": "cert"},
                ["ingressClassName: traefik", "secretName: cert"],
                "From then until the operator has made it anew",
            ),
        ],
        ids=["cluster", "nlb-tls", "auto-mode", "alb-ingress", "nginx", "successor"],
    )
    def test_the_plan_shows_it_and_deletes_first_what_cannot_change(
        self, mesh: Lab, make: MakeContext, given: dict[str, Any], lines: list[str], note: str
    ) -> None:
        if name := given.get("tls_secret"):
            certificate = {"tls.crt": "Y2VydA==", "tls.key": "a2V5"}
            metadata = {"name": name, "namespace": SYSTEM}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
            mesh.run(
                *("kubectl", "apply", "--filename", "-"),
                stdin=json.dumps({**secret, "type": "kubernetes.io/tls", "data": certificate}),
            )
        context = make(kiali=given, mode="plan")
        plan = named(context, "kiali-instance").plan(context)
        assert plan.unpredictable == ()
        assert [(change.action, change.ref) for change in plan.changes] == [
            ("delete", "Service istio-system/kiali"),
            ("change", "Kiali istio-system/kiali"),
        ]
        assert note in plan.note
        for line in lines:
            text = plan.changes[1].text
            assert re.search(rf"^\+ +{re.escape(line)}$", text, re.MULTILINE), text

    def test_what_the_platform_refuses_is_refused_before_anything_is_deleted(
        self, make: MakeContext
    ) -> None:
        asked = {"exposure": "load-balancer", "load_balancer_class": "service.k8s.aws/nlb"}
        context = make(kiali=asked, mode="plan")
        with pytest.raises(RunbookError, match="by our rule balancers-offer-tls-1-3"):
            named(context, "kiali-instance").plan(context)

    def test_a_class_that_is_not_there_is_refused(self, make: MakeContext) -> None:
        context = make(kiali={"exposure": "ingress", **HOST, "ingress_class": "missing"})
        with pytest.raises(RunbookError, match="IngressClass missing: no such class") as refused:
            named(context, "kiali-instance").plan(context)
        assert "alb, nginx, traefik" in refused.value.remedy


@pytest.fixture
def labels_everything(mesh: Lab, kubectl: Kubectl) -> Iterator[None]:
    """A platform that annotates what is made or changed in istiod's namespace."""
    annotations = 'annotations: {"platform.example.com/owner": "imaging"}'
    mutation = {"expression": f"Object{{metadata: Object.metadata{{{annotations}}}}}"}
    rules = [
        {
            "apiGroups": [group],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"],
            "resources": [resource],
        }
        for group, resource in (
            ("", "services"),
            ("networking.k8s.io", "ingresses"),
            ("kiali.io", "kialis"),
        )
    ]
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": rules},
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": mutation}],
    }
    objects = [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"MutatingAdmissionPolicy{kind}",
            "metadata": {"name": "owners"},
            "spec": given,
        }
        for kind, given in (("", spec), ("Binding", {"policyName": "owners"}))
    ]
    given = applied(mesh, *objects)

    def observe() -> State:
        trial = ("create", "service", "clusterip", "trial", "--tcp=80", "--dry-run=server")
        said = kubectl(*trial, "--output=yaml", check=False)
        return State("platform.example.com/owner" in said, said)

    until("the platform to annotate", observe, timeout=30)
    yield
    mesh.run("kubectl", "delete", "--filename", "-", stdin=given)


@pytest.mark.usefixtures("controllers", "labels_everything")
class TestIngress:
    """A way in that the lab can make: an Ingress, whatever controller may serve it."""

    def test_it_is_made_beside_what_a_platform_adds_and_leaves_nothing_of_the_way_before(
        self, make: MakeContext, kubectl: Kubectl
    ) -> None:
        toleration = {"key": "tools", "operator": "Exists"}
        more = {"deployment": {"tolerations": [toleration]}}
        given = {"exposure": "ingress", **HOST, "ingress_class": "traefik", "spec": more}
        context = make(kiali=given)
        plan, verification = take(context, "kiali-instance")
        assert [change.action for change in plan.changes] == ["delete", "change"]
        assert verification.ok, str(verification)
        found = table(verification, "Kiali")
        assert found["settings of Ingress istio-system/kiali"] == "as the resource says"
        assert "while it was made anew" in found["not reachable in the cluster"]
        assert "no address yet" in found["address"]
        service, ingress, deployment = (
            json.loads(kubectl("get", each, "kiali", "--output=json"))
            for each in ("service", "ingress", "deployment")
        )
        for item in (service, ingress):
            assert item["metadata"]["annotations"]["platform.example.com/owner"] == "imaging"
        assert "loadBalancerSourceRanges" not in service["spec"]
        assert ingress["spec"]["tls"] == [{"hosts": ["kiali.example.com"]}]
        assert deployment["spec"]["template"]["spec"]["tolerations"] == [toleration]
        assert named(context, "kiali-instance").plan(context).empty
        back = make()
        assert take(back, "kiali-instance")[1].ok
        assert "NotFound" in kubectl("get", "ingress", "kiali", check=False)
        url = f"{kiali_access.address(back).url}/healthz"
        assert httpx.get(url, trust_env=False, timeout=10).status_code == 200


@pytest.mark.usefixtures("verified")
class TestReaders:
    """Accounts of people."""

    def test_a_reader_logs_in_sees_and_is_gone_when_no_longer_named(
        self, make: MakeContext, kubectl: Kubectl
    ) -> None:
        context = make(kiali={"readers": ["ana"]})
        _, verification = take(context, "kiali-readers")
        assert verification.ok, str(verification)
        assert "kiali-reader-ana" in kiali_access.accounts(context)

        token = accounts.token(context.cluster, SYSTEM, "kiali-reader-ana")
        address = kiali_access.address(context).url
        with httpx.Client(trust_env=False, timeout=20) as browser:
            login = browser.post(f"{address}/api/authenticate", data={"token": token})
            assert login.status_code == 200
            names = {each["name"] for each in browser.get(f"{address}/api/namespaces").json()}
        assert "xnat" in names

        plan, verification = take(make(), "kiali-readers")
        assert {change.action for change in plan.changes} == {"delete"}
        assert verification.ok
        assert "NotFound" in kubectl("get", "serviceaccount", "kiali-reader-ana", check=False)

        def ended() -> State:
            whose, refused = accounts.review(context.cluster, token)
            return State(not whose, whose or refused)

        # API servers remember for some seconds whose a token is.
        until("the token to have ended", ended, timeout=30)


@pytest.mark.usefixtures("verified")
class TestOperatorFails:
    """The operator cannot do what the resource asks for."""

    @pytest.fixture
    def refuse_load_balancers(self, mesh: Lab, kubectl: Kubectl) -> Iterator[Callable[[], None]]:
        """Sets a quota as the namespace's owner could."""
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "no-load-balancers", "namespace": SYSTEM},
            "spec": {"hard": {"services.loadbalancers": "0"}},
        }

        def refuse() -> None:
            mesh.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(quota))
            kubectl(
                *("wait", "resourcequota/no-load-balancers", "--timeout=30s"),
                "--for=jsonpath={.status.hard.services\\.loadbalancers}=0",
            )

        yield refuse
        kubectl("delete", "resourcequota", "no-load-balancers")
        # The API server goes by what it has seen of quotas, which is a little late.
        trial = ("create", "service", "loadbalancer", "trial", "--tcp=80", "--dry-run=server")

        def observe() -> State:
            said = kubectl(*trial, check=False)
            return State("created" in said, said)

        until("the quota to be forgotten", observe, timeout=30)

    def test_its_own_message_is_shown(
        self, make: MakeContext, refuse_load_balancers: Callable[[], None]
    ) -> None:
        plan, verification = take(make(kiali={"exposure": "cluster"}), "kiali-instance")
        assert verification.ok, str(verification)
        assert plan.changes[0].ref == "Service istio-system/kiali"
        context = make()
        step = named(context, "kiali-instance")
        plan = step.plan(context)
        refuse_load_balancers()
        with pytest.raises(WaitFailed, match="exceeded quota: no-load-balancers") as failed:
            step.apply(context, plan)
        assert "kubectl --namespace kiali-operator logs --tail=100" in str(failed.value)
        # The operator would fail at it again, and now that is known before.
        with pytest.raises(RunbookError, match="exceeded quota: no-load-balancers"):
            step.plan(context)

    def test_once_the_cause_is_gone_the_same_step_goes_on(self, make: MakeContext) -> None:
        _, verification = take(make(), "kiali-instance")
        assert verification.ok, str(verification)


@pytest.mark.usefixtures("verified")
class TestRollback:
    """The way back; the last class, because it ends without Kiali."""

    def test_without_its_operator_kiali_is_not_deleted(self, mesh: Lab, make: MakeContext) -> None:
        operator = ("kubectl", "--namespace", "kiali-operator")
        mesh.run(*operator, "scale", "deployment/kiali-operator", "--replicas=0")
        mesh.run(*operator, "wait", "--for=delete", "pod", "--all")
        context = make()
        try:
            with pytest.raises(RunbookError, match="its operator deletes it, and") as refused:
                named(context, "rollback-kiali").plan(context)
        finally:
            mesh.run(*operator, "scale", "deployment/kiali-operator", "--replicas=1")
            mesh.run(*operator, "rollout", "status", "deployment/kiali-operator", "--timeout=60s")
        assert "06_kiali" in refused.value.remedy

    def test_the_operator_stays_as_long_as_there_is_a_kiali(self, make: MakeContext) -> None:
        context = make()
        with pytest.raises(RunbookError, match="Kiali istio-system/kiali"):
            named(context, "rollback-kiali-operator").plan(context)

    def test_an_addon_of_others_is_used_as_it_is_and_stays(
        self, mesh: Lab, make: MakeContext, kubectl: Kubectl
    ) -> None:
        context = make()
        assert take(context, "rollback-kiali")[1].ok
        plan, verification = take(context, "rollback-addons")
        assert verification.ok, str(verification)
        assert {change.action for change in plan.changes} == {"delete"}
        assert "not found" in kubectl("get", "deployment/prometheus", check=False)

        mesh.run("kubectl", "apply", "--filename", mesh.state.addons["prometheus"])
        kubectl("rollout", "status", "deployment/prometheus", "--timeout=60s")
        plan, verification = take(context, "kiali-addons")
        assert verification.ok, str(verification)
        assert "made by kubectl-client-side-apply" in plan.note
        assert [change.ref for change in plan.changes if "prometheus" in change.ref] == []
        take(context, "rollback-addons")
        assert "1/1" in kubectl("get", "deployment/prometheus")
        assert "not found" in kubectl("get", "deployment/jaeger", check=False)
        mesh.run("kubectl", "delete", "--filename", mesh.state.addons["prometheus"])

    def test_a_kiali_that_others_run_stays_and_stops_nothing(
        self, make: MakeContext, kubectl: Kubectl
    ) -> None:
        kubectl("create", "deployment", "kiali", "--image=lab.invalid/kiali:of-others")
        plan, verification = take(make(), "rollback-kiali")
        assert plan.empty
        assert verification.ok, str(verification)
        kubectl("delete", "deployment", "kiali")

    def test_the_operator_goes_last(self, mesh: Lab, make: MakeContext) -> None:
        assert take(make(), "rollback-kiali-operator")[1].ok
        releases = json.loads(mesh.run("helm", "list", "--all-namespaces", "--output", "json"))
        assert {each["name"] for each in releases} == {"istio-base", "istiod"}
